"""Advantages: named columns over samples, made from rewards."""

from .by_key import ByKey
from .gae import Gae, Returns
from .group_norm import GroupNorm
from .group_rate import GroupRate
from .leave_one_out import LeaveOneOut
from .multi_reward import MultiReward
from .policy_improvement import PolicyImprovement
from .ramp import Ramp, Times
from .raw import Raw
from .running_baseline import RunningBaseline
from .whiten import Whiten

__all__ = [
    "ByKey",
    "Gae",
    "GroupNorm",
    "GroupRate",
    "LeaveOneOut",
    "MultiReward",
    "PolicyImprovement",
    "Ramp",
    "Raw",
    "Returns",
    "RunningBaseline",
    "Times",
    "Whiten",
]
