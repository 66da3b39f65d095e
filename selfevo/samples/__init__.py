"""Builders: from scored rows to training samples. They sample nothing and ask no policy."""

from .corrections import Corrections
from .each_turn import EachTurn
from .kept import Kept
from .labelled import Labelled
from .pairs import Pairs
from .peer_context import PeerContext
from .policy_turns import PolicyTurns
from .sibling_pairs import SiblingPairs
from .swap_context import SwapContext

__all__ = ["Corrections", "EachTurn", "Kept", "Labelled", "Pairs", "PeerContext", "PolicyTurns", "SiblingPairs", "SwapContext"]
