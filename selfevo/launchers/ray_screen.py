"""What a run under Ray looks like to its user: what the main rank says, shown as if it ran here."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import Stopped
from ..view import View
from .job import Job
from .ray_desk import Message

if TYPE_CHECKING:
    from ..spec import RunSpec


class Screen:
    """Shows what the main rank says, in order, as if it ran here."""

    def __init__(self, spec: RunSpec, job: Job):
        self.view = View()
        self.live = self.view.console.is_terminal
        self.heard = 0
        self.unread: Stopped | None = None
        self._spec, self._root = spec, job.root
        self._early: dict[int, Message] = {}
        self._began: float | None = None

    def show(self, messages: Sequence[Message]) -> None:
        """Messages in any order; those that come too early wait for the ones before them."""
        self._early |= {message[0]: message for message in messages}
        while self.heard in self._early:
            _, what, args = self._early.pop(self.heard)
            self.heard += 1
            try:
                self._show(what, args)
            except Stopped as stopped:  # nobody reads the output any more
                self.unread = stopped

    def _show(self, what: str, args: tuple[Any, ...]) -> None:
        if what == "print":
            sys.stdout.write(args[0])
            sys.stdout.flush()
        elif what == "start":
            self._began = time.monotonic()
            self.view.start(self._spec, self._root, *args)
        else:
            if what == "finish":
                self._began = None
            getattr(self.view, what)(*args)

    def close(self) -> None:
        """Closing words of a run that could not say them itself."""
        if self._began is not None:
            with suppress(Stopped):
                self.view.finish("stopped", {"total": time.monotonic() - self._began})
            self._began = None
