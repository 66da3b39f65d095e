"""Tools that a policy may call while it replies (`rollouts.ToolLoop`): text in, text out."""

from .answer import Answer
from .calculator import Calculator
from .python import Python

__all__ = ["Answer", "Calculator", "Python"]
"""`Answer` is what they return."""
