"""TRL 1.16 as a backend: its trainers fit the rows of a train stage, or run GRPO on the same tasks. Importing this imports no torch."""

from .dpo import Dpo
from .grpo import Grpo
from .kto import Kto
from .reward import Reward
from .sft import Sft
from .unanswered import Unanswered

__all__ = ["Dpo", "Grpo", "Kto", "Reward", "Sft", "Unanswered"]
