"""Advantages: named columns over samples, made from rewards."""

from .group_norm import GroupNorm

__all__ = ["GroupNorm"]
