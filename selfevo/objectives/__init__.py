"""Terms of the training objective. A paper's loss is a mapping of these; the learner owns reduction and denominators."""

from .cispo import Cispo
from .clipped_ratio import ClippedRatio
from .entropy import Entropy
from .kl import KL
from .nll import NLL
from .policy_gradient import PolicyGradient
from .value import ValueLoss

__all__ = ["KL", "NLL", "Cispo", "ClippedRatio", "Entropy", "PolicyGradient", "ValueLoss"]
