"""What the main rank says on its way to the user's screen, and what the user asks of the ranks on its way to them."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..observer import Observer

if TYPE_CHECKING:
    from ..spec import RunSpec

Message = tuple[int, str, tuple[Any, ...]]
"""(number, what, arguments): `what` is a method of `run.Observer`, or "print" with a text."""
MOVES = 0.25
"""Seconds between two messages about the progress of a stage."""


class Desk:
    """An actor between the command and the ranks: messages one way, requests to stop the other. It waits, so that nobody has to ask."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._times = 0
        self._news, self._asked = asyncio.Event(), asyncio.Event()

    async def tell(self, message: Message) -> None:
        """Leave a message for the command."""
        self._messages.append(message)
        self._news.set()

    async def hear(self) -> list[Message]:
        """Messages since the last time; waits for one."""
        await self._news.wait()
        self._news.clear()
        heard, self._messages = self._messages, []
        return heard

    async def stop(self, times: int) -> None:
        """The user has asked so often: once, the ranks are to stop after the stage; twice, at once."""
        self._times = times
        self._asked.set()
        self._asked = asyncio.Event()

    async def stopping(self, heard: int) -> None:
        """Return once the user has asked more often than that."""
        while self._times <= heard:
            await self._asked.wait()


class Teller:
    """The main rank's side: numbers what it tells, since Ray may hand things over out of order. Thread-safe."""

    def __init__(self, desk: Any):
        self._desk, self._lock = desk, threading.Lock()
        self.told = 0
        self._last: Any = None

    def __call__(self, what: str, *args: Any) -> None:
        """Send a message."""
        with self._lock:
            self._last = self._desk.tell.remote((self.told, what, args))
            self.told += 1


class Relay(Observer):
    """An observer that has the command's view show everything."""

    def __init__(self, tell: Callable[..., None], live: bool):
        """`live`: the view shows how far a stage is."""
        self._tell, self._live, self._moved = tell, live, 0.0

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """The run begins or goes on."""
        self._tell("start", resumed)

    def stage(self, path: str, stage: str, kind: str, iteration: int, total: int) -> None:
        """A stage begins."""
        self._tell("stage", path, stage, kind, iteration, total)

    def progress(self, done: int, total: int, what: str) -> None:
        """A long stage moves."""
        if self._live and (done == total or time.monotonic() - self._moved > MOVES):
            self._moved = time.monotonic()
            self._tell("progress", done, total, what)

    def line(self, line: Mapping[str, Any]) -> None:
        """A stage was committed."""
        self._tell("line", dict(line))

    def note(self, text: str) -> None:
        """Something a user should read."""
        self._tell("note", text)

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """The run ended."""
        self._tell("finish", status, dict(seconds))


class Stream(io.TextIOBase):
    """Standard output of the main rank: whole lines go to the command's."""

    def __init__(self, tell: Callable[..., None]):
        self._tell, self._held = tell, ""

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Send what ends in a newline, keep the rest."""
        whole, newline, self._held = (self._held + text).rpartition("\n")
        if newline:
            self._tell("print", whole + newline)
        return len(text)

    def close(self) -> None:
        """Send what has no newline yet."""
        if self._held:
            self._tell("print", self._held)
            self._held = ""
        super().close()
