"""Advantages: named columns over samples, made from rewards."""

from .gae import Gae, Returns
from .group_norm import GroupNorm
from .leave_one_out import LeaveOneOut
from .raw import Raw
from .running_baseline import RunningBaseline
from .whiten import Whiten

__all__ = ["Gae", "GroupNorm", "LeaveOneOut", "Raw", "Returns", "RunningBaseline", "Whiten"]
