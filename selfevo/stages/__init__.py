"""The four kinds of stage. A stage reads committed tables, versions and state and returns an `Outcome`; only the run commits."""

from .base import Outcome, Stage
from .evaluate import Evaluate
from .rollout import Rollout
from .score import Score
from .train import Train

KINDS: dict[str, type] = {"rollout": Rollout, "score": Score, "train": Train, "evaluate": Evaluate}

__all__ = ["KINDS", "Evaluate", "Outcome", "Rollout", "Score", "Stage", "Train"]
