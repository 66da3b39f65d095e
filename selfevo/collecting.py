"""Python's garbage collector, kept out of moments in which nearly all that is made stays."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector(freeze: bool = False) -> Iterator[None]:
    """No collection inside: imports and configs make objects by the hundred thousand that all stay, and looking among them for some to
    free costs a tenth to a fifth of the time. `freeze`: what is there at the end is passed over by later collections too; for what
    lives as long as the process."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if freeze:
            gc.freeze()
        if on:
            gc.enable()


def none_at_exit() -> None:
    """Let the process end without looking for garbage: Python does so three times then, a fifth of the time of a short command, and the
    system takes all memory back anyway. What has to be closed is closed by its owner or by `atexit`."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
