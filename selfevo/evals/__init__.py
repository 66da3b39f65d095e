"""Evaluation suites: fixed, sealed task lists with a verifier and the numbers reported on them."""

from .suite import Suite

__all__ = ["Suite"]
