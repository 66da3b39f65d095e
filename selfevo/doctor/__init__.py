"""What this machine can run, thing by thing, and what to do about the rest."""

from .findings import Finding

__all__ = ["Finding"]
