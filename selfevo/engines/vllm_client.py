"""Questions to a vLLM server on this machine, many at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import EngineError
from .endpoint.beside import beside
from .vllm_words import VAGUE, in_our_words

POLL = 1.0
"""Seconds between two looks at whether the server still lives."""


class Stalled(EngineError):
    """A server that gives no answer for too long."""


class Client:
    """Posts JSON to a server; `stall_seconds` without any answer is an error."""

    def __init__(self, url: str, at_once: int, stall_seconds: float, alive: Callable[[], None], last_error: Callable[[], str]):
        """`alive` raises when the server's process has ended; `last_error` is the end of a sentence with the last error it logged."""
        self.url, self.at_once, self.stall_seconds, self.alive, self.last_error = url, at_once, stall_seconds, alive, last_error

    def post(self, path: str, body: Mapping[str, Any] | None = None, patience: float | None = None) -> Any:
        """One answer; `patience` takes the place of `stall_seconds`."""
        return self.all(path, [body or {}], patience)[0]

    def all(self, path: str, bodies: Sequence[Mapping[str, Any]], patience: float | None = None) -> list[Any]:
        """Answers in order; at most `at_once` are asked for at a time. Raises Stalled, and EngineError with what the server says is
        wrong."""
        return beside(lambda: self._all(path, bodies, self.stall_seconds if patience is None else patience))

    async def _all(self, path: str, bodies: Sequence[Mapping[str, Any]], patience: float) -> list[Any]:
        import httpx

        room, heard = asyncio.Semaphore(self.at_once), [time.monotonic()]
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=self.url, timeout=None, limits=limits, trust_env=False) as http:  # no proxy: it is here

            async def one(body: Mapping[str, Any]) -> Any:
                async with room:
                    reply = await http.post(path, json=body)
                heard[0] = time.monotonic()
                if reply.status_code != 200:
                    raise EngineError(self._refusal(path, _reason(reply.text)))
                return reply.json() if reply.headers.get("content-type", "").startswith("application/json") else None

            tasks = [asyncio.create_task(one(body)) for body in bodies]
            try:
                while True:
                    done, waiting = await asyncio.wait(tasks, timeout=POLL, return_when=asyncio.FIRST_EXCEPTION)
                    for task in done:
                        task.result()
                    if not waiting:
                        return [task.result() for task in tasks]
                    self.alive()
                    if time.monotonic() - heard[0] > patience:
                        raise Stalled(f"the vLLM server has not answered for {patience:g} s (engine.stall_seconds)")
            except httpx.HTTPError as error:
                for _ in range(20):  # a server that dies takes its connections along before its process is seen to have ended
                    self.alive()
                    await asyncio.sleep(0.1)
                raise EngineError(f"the vLLM server at {self.url} broke off: {str(error) or type(error).__name__}") from error
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _refusal(self, path: str, said: str) -> str:
        return f"the vLLM server failed{self.last_error()}" if not said or said.startswith(VAGUE) else f"vLLM refuses {path}: {said}"


def _reason(text: str) -> str:
    try:
        said = json.loads(text)
        text = str(said["error"]["message"] if "error" in said else said.get("detail", said))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return in_our_words(text)
