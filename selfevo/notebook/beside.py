"""Work in a thread of its own, for a caller whose thread already runs an event loop, as every cell of a notebook does.

A run has event loops of its own, and one thread cannot run two. Ctrl-C (or "interrupt the kernel") reaches the main thread only, which
waits here: it hands the wish to stop over.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable
from typing import Any

from ..stopping import stop_on_signals


def looping() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def beside(work: Callable[[threading.Event], Any], tell: Callable[[str], Any]) -> None:
    """Do `work` in another thread and wait for it; raises what it raised. It is given the event that asks it to stop after a stage."""
    stopping, ended = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def body() -> None:
        try:
            work(stopping)
        except BaseException as error:  # whatever it is belongs to the caller
            raised.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(body,), name="selfevo run")
    with stop_on_signals(stopping, lambda text: tell(f"note: {text}"), lambda: _interrupt(thread)):
        thread.start()
        ended.wait()  # not join: one that a signal interrupts takes the thread for ended
    thread.join()
    if raised:
        raise raised[0]


def _interrupt(thread: threading.Thread) -> None:
    """Raise KeyboardInterrupt in another thread, at its next step."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
