"""Evaluation suites: fixed, sealed task lists with a verifier and the numbers reported on them."""

from .collective import Collective
from .exploration import Exploration
from .hops import Hops
from .suite import Suite
from .transitions import Transitions

__all__ = ["Collective", "Exploration", "Hops", "Suite", "Transitions"]
