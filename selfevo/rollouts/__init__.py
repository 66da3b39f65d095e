"""Rollout strategies: how one episode unfolds, and the dialogue they are written in."""

from .candidates import Candidates
from .chain import Chain
from .dialogue import Talk
from .each import Each
from .multi_turn import MultiTurn
from .recorded import Recorded
from .single import Single
from .stepwise import Stepwise
from .tools import ToolLoop

__all__ = ["Candidates", "Chain", "Each", "MultiTurn", "Recorded", "Single", "Stepwise", "Talk", "ToolLoop"]
