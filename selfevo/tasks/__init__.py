"""Where tasks come from: procedural families with levels and exact answers, datasets, mixtures, and policies' own text."""

from .chain_sum import ChainSum
from .countdown import Countdown
from .dataset import Dataset
from .deals import Deals
from .labelled import Labelled
from .mixture import Mixture
from .operators import Operators
from .parsed import FromText
from .procedural import Procedural
from .reasoning_gym import ReasoningGym
from .rewritten import Rewritten
from .sorting import Sorting

__all__ = [
    "ChainSum",
    "Countdown",
    "Dataset",
    "Deals",
    "FromText",
    "Labelled",
    "Mixture",
    "Operators",
    "Procedural",
    "ReasoningGym",
    "Rewritten",
    "Sorting",
]
