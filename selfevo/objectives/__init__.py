"""Terms of the training objective. A paper's loss is a mapping of these; the learner owns reduction and denominators."""

from .cispo import Cispo
from .clipped_ratio import ClippedRatio
from .distill import Distill
from .dpo import DPO
from .entropy import Entropy
from .ipo import IPO
from .kl import KL
from .kto import KTO
from .nft import NFT
from .nll import NLL
from .p3o import P3O, Pullback
from .policy_gradient import PolicyGradient
from .simpo import SimPO
from .value import ValueLoss

__all__ = [
    "DPO", "IPO", "KL", "KTO", "NFT", "NLL", "P3O", "Cispo", "ClippedRatio", "Distill", "Entropy", "PolicyGradient", "Pullback",
    "SimPO", "ValueLoss",
]  # fmt: skip
