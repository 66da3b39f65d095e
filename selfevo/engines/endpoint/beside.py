"""An event loop beside the one that is running already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def beside(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of a coroutine, run in a thread and an event loop of its own that end with it.

    A stage calls its engines from inside an event loop, in which no other can run. What interrupts the caller cancels the coroutine.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T] | None]] = Future()

    async def whole() -> T:
        started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await main()

    with ThreadPoolExecutor(1, thread_name_prefix="endpoint") as pool:
        result = pool.submit(lambda: asyncio.run(whole()))
        try:
            return result.result()
        except BaseException:
            if not result.done():
                loop, task = started.result()
                assert task is not None
                with suppress(RuntimeError):  # it has ended meanwhile
                    loop.call_soon_threadsafe(task.cancel)
            raise
