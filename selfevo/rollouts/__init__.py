"""Rollout strategies: how one episode unfolds, and the dialogue they are written in."""

from .candidates import Candidates
from .chain import Chain
from .dialogue import Talk
from .each import Each
from .multi_turn import MultiTurn
from .recall import Recall
from .recorded import Recorded
from .retry import Retry
from .self_play import SelfPlay
from .single import Single
from .stepwise import Stepwise
from .tools import ToolLoop
from .tree import Tree
from .values import MonteCarlo, SelfEvaluation, StepValue

__all__ = [
    "Candidates",
    "Chain",
    "Each",
    "MonteCarlo",
    "MultiTurn",
    "Recall",
    "Recorded",
    "Retry",
    "SelfEvaluation",
    "SelfPlay",
    "Single",
    "StepValue",
    "Stepwise",
    "Talk",
    "ToolLoop",
    "Tree",
]
