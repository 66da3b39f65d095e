"""Advantages: named columns over samples, made from rewards."""

from .by_key import ByKey
from .combined import Combined
from .diversity import Diversity
from .gae import Gae, Returns
from .group_norm import GroupNorm
from .group_rate import GroupRate
from .implicit_reward import ImplicitReward
from .leave_one_out import LeaveOneOut
from .multi_reward import MultiReward
from .policy_improvement import PolicyImprovement
from .ramp import Ramp, Times
from .raw import Raw
from .running_baseline import RunningBaseline
from .step_norm import StepNorm
from .turns import Decay, Nonzero
from .whiten import Whiten

__all__ = [
    "ByKey",
    "Combined",
    "Decay",
    "Diversity",
    "Gae",
    "GroupNorm",
    "GroupRate",
    "ImplicitReward",
    "LeaveOneOut",
    "MultiReward",
    "Nonzero",
    "PolicyImprovement",
    "Ramp",
    "Raw",
    "Returns",
    "RunningBaseline",
    "StepNorm",
    "Times",
    "Whiten",
]
