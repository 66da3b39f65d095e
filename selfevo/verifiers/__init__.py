"""Verifier parts, and `verify`, which applies an ordered mapping of them to rows."""

from .answers import Extract, normalise
from .exact import Exact
from .run import summary, verify

__all__ = ["Exact", "Extract", "normalise", "summary", "verify"]
