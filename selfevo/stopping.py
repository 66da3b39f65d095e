"""Signals heard for a while, and what a run makes of them: once to stop after the stage, twice to stop at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from .errors import Stopped


@contextmanager
def hearing(
    handle: Callable[[int, Any], Any] | signal.Handlers, numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)
) -> Iterator[None]:
    """Inside, these signals come to `handle`. Does nothing outside the main thread, which alone sees signals."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handle) for number in numbers} if main else {}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _at_once() -> None:
    raise KeyboardInterrupt


@contextmanager
def stop_on_signals(stopping: threading.Event, tell: Callable[[str], Any], at_once: Callable[[], None] = _at_once) -> Iterator[None]:
    """First Ctrl-C (or SIGTERM): `stopping` is set, so that the run finishes its stage, commits, checkpoints and stops. Second: `at_once`
    is called; the last commit stands. Does nothing outside the main thread, which alone sees signals."""
    said: list[threading.Thread] = []

    def say() -> None:
        with suppress(Stopped):  # nobody reads the note: the run is stopping as it is
            tell("stopping after this stage; press Ctrl-C again to stop at once")

    def handle(number: int, frame: Any) -> None:
        if stopping.is_set():
            at_once()
            return
        stopping.set()
        # In a thread of its own: the signal may have come while this one was writing to the very file the note goes to.
        said.append(threading.Thread(target=say))
        said[0].start()

    try:
        with hearing(handle):
            yield
    finally:
        for thread in said:
            thread.join()
