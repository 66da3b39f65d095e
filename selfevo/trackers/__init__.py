"""Trackers: experiment trackers that see every committed metrics line."""

from .tensorboard import TensorBoard
from .tracker import Tracker
from .wandb import WandB

__all__ = ["TensorBoard", "Tracker", "WandB"]
