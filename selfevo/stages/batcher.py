"""Runs many episodes at once and asks the engines in batches: a batch leaves when every unfinished episode waits for a reply.

So the batches depend on the episodes alone, never on timing, and a run repeats bit for bit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..protocols import Completion, GenerateRequest, ScoreRequest, TokenScores

T = TypeVar("T")
Target = tuple[str, str]
"""(engine's name, policy version): who is asked."""

Serve = Callable[[Target, str, Sequence[Any]], Sequence[Any]]
"""(target, "generate" or "score", requests) -> results, in order."""


@dataclass
class _Ask:
    target: Target
    verb: str
    request: GenerateRequest | ScoreRequest
    reply: asyncio.Future[Any]
    order: tuple[int, int]


class Batcher:
    """Collects what episodes ask until all of them wait, then serves the asks grouped by (target, verb), in episode order."""

    def __init__(self, serve: Serve):
        self._serve = serve
        self._asks: list[_Ask] = []
        self._running = 0
        self._count = 0

    async def generate(self, episode: int, target: Target, request: GenerateRequest) -> Completion:
        """One completion from `target`."""
        return await self._ask(episode, target, "generate", request)

    async def score(self, episode: int, target: Target, request: ScoreRequest) -> TokenScores:
        """Log-probs of given tokens."""
        return await self._ask(episode, target, "score", request)

    def run(self, episodes: Sequence[Callable[[], Awaitable[T]]], done: Callable[[int], None] = lambda n: None) -> list[T]:
        """Results of all episodes, in order; `done` is told how many have ended. An exception in one ends them all."""
        return asyncio.run(self._run(episodes, done))

    async def _run(self, episodes: Sequence[Callable[[], Awaitable[T]]], done: Callable[[int], None]) -> list[T]:
        self._running = len(episodes)
        ended = 0

        async def one(episode: Callable[[], Awaitable[T]]) -> T:
            nonlocal ended
            try:
                return await episode()
            finally:
                self._running -= 1
                ended += 1
                done(ended)
                self._flush_when_all_wait()

        tasks = [asyncio.ensure_future(one(e)) for e in episodes]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _ask(self, episode: int, target: Target, verb: str, request: Any) -> Any:
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._count += 1
        self._asks.append(_Ask(target, verb, request, reply, (episode, self._count)))
        self._flush_when_all_wait()
        return await reply

    def _flush_when_all_wait(self) -> None:
        if self._asks and len(self._asks) >= self._running:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if not self._asks or len(self._asks) < self._running:
            return
        asks, self._asks = sorted(self._asks, key=lambda a: a.order), []
        kinds = dict.fromkeys((a.target, a.verb) for a in asks)
        for target, verb in kinds:
            some = [a for a in asks if (a.target, a.verb) == (target, verb) and not a.reply.cancelled()]
            try:
                results = self._serve(target, verb, [a.request for a in some])
            except Exception as error:  # the asker decides what an engine's error means for its episode
                for a in some:
                    a.reply.set_exception(error)
                continue
            for a, result in zip(some, results, strict=True):
                a.reply.set_result(result)
