"""Work that a thread does while its caller goes on: piece by piece in order, and none after one that failed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

ROOM = 2
"""Pieces that are under way or wait for their turn: a small one need not wait for the large one before it."""


class Behind:
    """Whoever brings a piece for which there is no room waits, and hears of a failure."""

    def __init__(self) -> None:
        self._pieces: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._told = False

    def do(self, work: Callable[[], object]) -> None:
        """Begin a piece of work, or put it behind the others. Raises what an earlier one raised; then this one is never begun."""
        self._wait(ROOM - 1)
        with self._changed:
            self._pieces.append(work)
            if self._thread is None and self._error is None:
                self._thread = threading.Thread(target=self._work, name="behind")
                self._thread.start()

    def settle(self) -> None:
        """Wait until every piece is done. Raises what one of them raised, now and ever after. From inside the work itself: nothing."""
        if threading.current_thread() is not self._thread:
            self._wait(0)

    def close(self) -> BaseException | None:
        """Wait until every piece is done or one has failed; what that one raised, if nobody has heard of it."""
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None)
        return None if self._told else self._error

    def _wait(self, left: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._pieces) <= left or self._error is not None)
        if self._error is not None:
            self._told = True
            raise self._error

    def _work(self) -> None:
        while True:
            try:
                self._pieces[0]()
            except BaseException as error:  # raised again by whoever waits
                self._error = error
            with self._changed:
                if self._error is None:
                    self._pieces.popleft()
                self._changed.notify_all()
                if not self._pieces or self._error is not None:
                    self._thread = None
                    return
