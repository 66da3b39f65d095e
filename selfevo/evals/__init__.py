"""Evaluation suites: fixed, sealed task lists with a verifier and the numbers reported on them."""

from .collective import Collective
from .hops import Hops
from .suite import Suite
from .transitions import Transitions

__all__ = ["Collective", "Hops", "Suite", "Transitions"]
