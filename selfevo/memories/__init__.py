"""Memories: named text resources versioned exactly like weights, and the optimizers that make and adopt their versions."""

from .memory import Memories, Memory
from .text import Text

__all__ = ["Memories", "Memory", "Text"]
