"""Verifier parts, and `verify`, which applies an ordered mapping of them to rows."""

from .agreement import Agreement
from .answers import Extract, normalise
from .balance import Balance
from .children import Children
from .collective_vote import CollectiveVote
from .count import Count
from .countdown import Countdown
from .drop_uniform import DropUniform
from .exact import Exact
from .format import Format
from .from_environment import FromEnvironment
from .gate import Gate
from .graded import Graded
from .judge import Judged
from .length import Length
from .majority import Majority
from .majority_share import MajorityShare
from .margin import Margin
from .math import Math
from .numeric import Numeric
from .overlap import Overlap
from .overlong import Overlong
from .paired import PairedGate
from .preference import Preference
from .program import Program
from .progress import Progress
from .repetition import Repetition
from .route import Route
from .run import summary, verify
from .says import Says
from .tag_pairs import TagPairs
from .think_search import ThinkSearch
from .weighted import Weighted

__all__ = [
    "Agreement",
    "Balance",
    "Children",
    "CollectiveVote",
    "Count",
    "Countdown",
    "DropUniform",
    "Exact",
    "Extract",
    "Format",
    "FromEnvironment",
    "Gate",
    "Graded",
    "Judged",
    "Length",
    "Majority",
    "MajorityShare",
    "Margin",
    "Math",
    "Numeric",
    "Overlap",
    "Overlong",
    "PairedGate",
    "Preference",
    "Program",
    "Progress",
    "Repetition",
    "Route",
    "Says",
    "TagPairs",
    "ThinkSearch",
    "Weighted",
    "normalise",
    "summary",
    "verify",
]
