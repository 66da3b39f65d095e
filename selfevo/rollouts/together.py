"""What a strategy waits for at once. asyncio comes with an episode: a spec is checked with strategies, but none of its modules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def together(calls: Iterable[Awaitable[T]]) -> list[T]:
    """What all of the calls give, in their order, when the last one is there. Raises what the first that fails raises."""
    import asyncio

    return list(await asyncio.gather(*calls))


async def in_thread(call: Callable[..., T], *arguments: object) -> T:
    """What a call gives that computes or waits by itself, made in a thread so that other episodes go on. Raises what it raises."""
    import asyncio

    return await asyncio.to_thread(call, *arguments)
