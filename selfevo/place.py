"""Where those parts of a run live that need not live in its own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .protocols import Engine
from .spec import build
from .verifiers.run import Apply, applied

if TYPE_CHECKING:
    from .observer import Observer
    from .spec import RunSpec


class Place:
    """This process: engines and verifiers work here, and what a user sees is shown here. A launcher may know better."""

    here = True
    """Whether this process is a plain one of the user's, which may divide itself."""

    def settle(self, spec: RunSpec, note: Callable[[str], None]) -> None:
        """Called once, before anything is asked for. `note` tells the user a line."""
        self.spec = spec

    def engine(self, name: str) -> Engine:
        """The engine of that name among the spec's; "" is the run's."""
        return build(self.spec.engines[name] if name else self.spec.engine)

    def judging(self, stage: str) -> Apply:
        """How to apply one part of that stage's verifier to rows."""
        return applied

    def view(self) -> Observer:
        """What shows the run to its user."""
        from .view import View

        return View()  # type: ignore[return-value]

    def close(self) -> None:
        """The run ended: end what was made for it. A second call does nothing."""
