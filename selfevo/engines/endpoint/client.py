"""Asking: many requests at once through the `openai` client, whose retries, back-off and reading of Retry-After these are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...errors import EngineError, UserError, nearest
from .ask import Answer, Ask, answer
from .keys import hide
from .pace import Pace

CONNECT_TIMEOUT = 10.0
"""Seconds after which a host that does not even answer the door counts as away."""
MODELS_TIMEOUT = 5.0
"""Seconds that a refused model's name may cost in looking for the names that are served."""


@dataclass(frozen=True)
class Client:
    """How an endpoint is asked.

    A connection that fails, a time-out, and the statuses 408, 409, 429 and 5xx are tried again, `retries` times at most: after 0.5 s,
    twice that and so on up to 8 s, less a random quarter, or after what Retry-After says where that is 2 minutes or less. All else
    is an error at once. `timeout`: seconds without a sign from the endpoint that end one try. `give_up`: seconds for one request
    from its first try on, with the waits between them.
    """

    url: str
    model: str
    key: str | None
    key_env: str | None
    concurrency: int
    timeout: float
    retries: int
    give_up: float
    requests: Pace
    tokens: Pace

    async def all(self, asks: Sequence[Ask], arrived: Callable[[Ask, Answer, int], None]) -> list[Answer]:
        """Answers in order; `arrived` hears of each at once, with its number of retries. Raises EngineError for the first that fails;
        those under way are given up."""
        openai = library()
        slots = asyncio.Semaphore(self.concurrency)
        wait = openai.Timeout(self.timeout, connect=min(self.timeout, CONNECT_TIMEOUT))
        client = openai.AsyncOpenAI(api_key=self.key or "none", base_url=self.url, timeout=wait, max_retries=self.retries)
        create = client.chat.completions.with_raw_response.create  # imports what it needs, so not in anyone's time

        async def one(ask: Ask) -> Answer:
            async with slots:
                await self.requests.wait()
                await self.tokens.wait(ask.tokens)
                given, retries = await self._ask(client, create, ask)
            if given.prompt_tokens is not None and given.completion_tokens is not None:
                self.tokens.correct(given.prompt_tokens + given.completion_tokens - ask.tokens)
            arrived(ask, given, retries)
            return given

        async with client:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(ask)) for ask in asks]
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _ask(self, client: Any, create: Any, ask: Ask) -> tuple[Answer, int]:
        openai = library()
        rest = {k: v for k, v in ask.body.items() if k not in ("model", "messages")}
        try:
            async with asyncio.timeout(self.give_up):
                reply = await create(model=ask.body["model"], messages=ask.body["messages"], extra_body=rest)
        except TimeoutError:
            raise self._error(ask, f"no answer within {self.give_up:g} s, retries included (give_up)") from None
        except openai.APIStatusError as error:
            raise self._error(ask, await self._refused(client, error)) from None
        except openai.APITimeoutError:
            raise self._error(ask, f"no answer within {self.timeout:g} s (timeout){self._after()}") from None
        except openai.APIConnectionError as error:
            raise self._error(ask, f"cannot be reached ({_line(error.__cause__ or error)}){self._after()}") from None
        except openai.OpenAIError as error:
            raise self._error(ask, _line(error)) from None
        try:
            return answer(reply.text), int(reply.retries_taken)
        except ValueError as error:
            said = f"its answer is no chat completion ({error}): {_short(reply.text)}; is base_url right, up to /v1?"
            raise self._error(ask, said) from None

    async def _refused(self, client: Any, error: Any) -> str:
        """What to say of an HTTP status."""
        status, said = error.status_code, _message(error.body)
        wait = error.response.headers.get("retry-after")
        if status == 401 and self.key_env is None:
            return f"asks for a key (401: {said}); put it into an environment variable, and name that in key_env"
        if status in (401, 403):
            return f"refuses the key in {self.key_env} ({status}: {said})"
        if status == 404:
            names = await self._models(client)
            hint = nearest(self.model, names) if names else "; is base_url right, up to /v1?"
            return f"has no model '{self.model}' ({status}: {said}){hint}"
        if status == 429:
            if wait:  # perhaps too long for a further try
                return f"is asked too much ({status}: {said}); it asks to come back in {wait} s"
            return f"is asked too much ({status}: {said}){self._after()}; lower requests_per_minute, tokens_per_minute or concurrency"
        if status >= 500:
            return f"fails ({status}: {said}){self._after()}"
        return f"refuses the request ({status}: {said})"

    async def _models(self, client: Any) -> list[str]:
        """Names that the endpoint serves, as far as it tells."""
        with suppress(library().OpenAIError, TimeoutError, ValueError, AttributeError, TypeError):
            async with asyncio.timeout(MODELS_TIMEOUT):
                listed = await client.with_options(max_retries=0).models.list()
                return [str(model.id) for model in listed.data]
        return []

    def _after(self) -> str:
        return f", retries: {self.retries}"

    def _error(self, ask: Ask, said: str) -> EngineError:
        return EngineError(hide(f"endpoint {self.url}, {ask.name}: {said}", self.key))


def library() -> Any:
    """The package `openai`. Raises UserError saying how to get it."""
    try:
        import openai
    except ImportError as error:
        raise UserError("the engine needs the package openai: pip install 'selfevo[openai]'") from error
    return openai


def _message(body: Any) -> str:
    """What the body of an error says, in whichever of the usual shapes."""
    if isinstance(body, dict):
        inner = body.get("error", body)
        said = inner.get("message", inner) if isinstance(inner, dict) else inner
        return _short(str(said))
    return _short(str(body)) if body else "no message"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= 240 else line[:240] + "...") or "nothing"


def _line(error: BaseException) -> str:
    return _short(str(error) or type(error).__name__)
