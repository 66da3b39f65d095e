"""Memories: named text resources versioned exactly like weights, and the optimizers that make and adopt their versions."""

from .adopt import AdoptWithinBudget
from .memory import Memories, Memory
from .paired import Paired, paired
from .propose import FromRows
from .text import Text

__all__ = ["AdoptWithinBudget", "FromRows", "Memories", "Memory", "Paired", "Text", "paired"]
