"""Work that a thread does while its caller goes on: one piece at a time, in order, and none after one that failed."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Behind:
    """At most one piece of work is under way; whoever brings the next waits for it, and hears of its failure."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._told = False

    @property
    def busy(self) -> bool:
        """Whether a piece is under way, or ended in a failure."""
        return self._error is not None or (self._thread is not None and self._thread.is_alive())

    def do(self, work: Callable[[], object]) -> None:
        """Begin a piece of work, after the one before. Raises what that one raised; then nothing begins."""
        self.settle()
        self._thread = threading.Thread(target=self._try, args=(work,), name="commit")
        self._thread.start()

    def settle(self) -> None:
        """Wait for the piece under way, if any. Raises what it raised, now and ever after. From inside the work itself: nothing."""
        thread = self._thread
        if thread is threading.current_thread():
            return
        if thread is not None:
            thread.join()
            self._thread = None
        if self._error is not None:
            self._told = True
            raise self._error

    def close(self) -> BaseException | None:
        """Wait for the piece under way; what it raised, if nobody has heard of it."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        return None if self._told else self._error

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # raised again by whoever waits
            self._error = error
