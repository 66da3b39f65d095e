"""Memories: named text resources versioned exactly like weights, and the optimizers that make and adopt their versions."""

from .adopt import AdoptWithinBudget
from .best_belief import BestBelief
from .by_tags import ByTags
from .edits import Edits
from .memory import Memories, Memory
from .nearest import Nearest
from .paired import Paired, paired
from .principles import Principles
from .propose import FromRows
from .regression_gate import RegressionGate
from .restore import Restore
from .skill import Skill
from .text import Text
from .without_newest import WithoutNewest

__all__ = [
    "AdoptWithinBudget", "BestBelief", "ByTags", "Edits", "FromRows", "Memories", "Memory", "Nearest", "Paired", "Principles",
    "RegressionGate", "Restore", "Skill", "Text", "WithoutNewest", "paired",
]  # fmt: skip
