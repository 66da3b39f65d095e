"""An event loop beside the one that is running already."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
LOOK_UP = 0.5
"""Seconds after which the waiting thread looks up: a signal that comes just as it lies down to wait is not seen before."""


def beside(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of a coroutine, run in a thread and an event loop of its own that end with it.

    A stage calls its engines from inside an event loop, in which no other can run. What interrupts the caller cancels the coroutine,
    at whatever moment it comes, be it while the thread is starting.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()
    done: Future[T] = Future()

    async def whole() -> T:
        task = asyncio.current_task()
        assert task is not None
        begun.set_result((asyncio.get_running_loop(), task))
        return await main()

    def run() -> None:
        if done.set_running_or_notify_cancel():  # the caller may have gone before the thread came
            try:
                done.set_result(asyncio.run(whole()))
            except BaseException as error:  # of whatever kind: the caller raises it
                done.set_exception(error)

    thread = threading.Thread(target=run, name="endpoint", daemon=True)
    try:
        thread.start()
        while not wait([done], LOOK_UP).done:
            pass
        result = done.result()
    except BaseException:
        if not done.cancel():
            if done.running():
                loop, task = begun.result()
                with suppress(RuntimeError):  # it has ended meanwhile
                    loop.call_soon_threadsafe(task.cancel)
                wait([done])
            thread.join()
        raise
    thread.join()
    return result
