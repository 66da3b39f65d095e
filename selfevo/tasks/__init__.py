"""Where tasks come from: procedural families with levels and exact answers."""

from .chain_sum import ChainSum
from .countdown import Countdown
from .operators import Operators
from .parsed import FromText
from .procedural import Procedural
from .sorting import Sorting

__all__ = ["ChainSum", "Countdown", "FromText", "Operators", "Procedural", "Sorting"]
