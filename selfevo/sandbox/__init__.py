"""Programs that nobody trusts, run where they can do no harm: `Sandbox`."""

from .sandbox import Result, Sandbox, check

__all__ = ["Result", "Sandbox", "check"]
