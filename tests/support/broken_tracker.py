"""A tracker that fails when it is told to."""

from __future__ import annotations

from typing import Any

from selfevo.observer import Observer


class Broken(Observer):
    """`on`: the method that raises RuntimeError; `calls` counts how often it was called."""

    calls = 0

    def __init__(self, on: str = "line"):
        if on != "never":
            setattr(self, on, self._fail)

    def _fail(self, *args: Any) -> None:
        type(self).calls += 1
        raise RuntimeError("the server\nis gone")
