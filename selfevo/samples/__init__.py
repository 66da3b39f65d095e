"""Builders: from scored rows to training samples. They sample nothing and ask no policy."""

from .each_turn import EachTurn
from .policy_turns import PolicyTurns

__all__ = ["EachTurn", "PolicyTurns"]
