"""What is asked of an endpoint, and what it answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ...protocols import Sampling
from ...records import Message, digest

SEEDS = 1 << 31
"""Endpoints get a request's seed modulo this: some read it into 32 bits."""
CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}
"""How vLLM and SGLang are told that the last message is the beginning of the reply."""


@dataclass(frozen=True)
class Ask:
    """One request: `index` within its call, `body` as it is sent, `seed` whole, although an endpoint gets less of it, or nothing."""

    index: int
    url: str
    body: Mapping[str, Any]
    seed: int

    @cached_property
    def key(self) -> str:
        """A digest of everything that decides the answer."""
        return digest(self.content, 64)

    @property
    def content(self) -> dict[str, Any]:
        """Everything that decides the answer, as JSON."""
        return {"url": self.url, "body": self.body, "seed": self.seed}

    @property
    def tokens(self) -> float:
        """About how many tokens it may take: a quarter of its characters, and the longest reply."""
        limit = self.body.get("max_tokens") or self.body.get("max_completion_tokens") or 0
        return sum(len(m["content"]) for m in self.body["messages"]) / 4 + limit

    @property
    def name(self) -> str:
        """How errors name it."""
        said = " ".join(self.body["messages"][-1]["content"].split()) if self.body["messages"] else ""
        return f"request {self.index} ('{said if len(said) <= 40 else said[:40] + '...'}')"


@dataclass(frozen=True)
class Answer:
    """`text` as it came; `finish` "length" when the endpoint cut it; `stop` the stop string it says it stopped at and left out.
    `prompt_tokens` and `completion_tokens` are the endpoint's own count, None where it gives none."""

    text: str
    finish: Literal["stop", "length"]
    stop: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


def chat(model: str, messages: Sequence[Message], sampling: Sampling, limit_key: str) -> dict[str, Any]:
    """The JSON that asks for a chat completion; `limit_key` is its name for the longest reply."""
    out: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        limit_key: sampling.max_tokens,
    }
    if sampling.top_k:
        out["top_k"] = sampling.top_k
    if sampling.stop:
        out["stop"] = list(sampling.stop)
    return out


def answer(text: str) -> Answer:
    """The answer in the JSON of a chat completion. Raises ValueError saying what is wrong with it."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ValueError("no JSON") from error
    if not isinstance(data, dict) or not isinstance(data.get("choices"), list) or not data["choices"]:
        raise ValueError("no choices in it")
    choice = data["choices"][0]
    message = choice.get("message") if isinstance(choice, dict) else None
    said = (message.get("content") or message.get("refusal") or "") if isinstance(message, dict) else None
    if not isinstance(said, str):
        raise ValueError("no message in it")
    usage: Any = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    stop = choice.get("stop_reason", choice.get("matched_stop"))  # vLLM's and SGLang's word: a stop string, or the id of an end token
    return Answer(
        said.encode(errors="replace").decode(),  # JSON can hold half a character, which no table can
        "length" if choice.get("finish_reason") == "length" else "stop",
        stop if isinstance(stop, str) else None,
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
    )


def cut(given: Answer, stops: Sequence[str]) -> tuple[str, bool]:
    """The reply up to and with the stop string that ended it, and whether one did.

    Endpoints leave the string out, and only some say which it was; one that ignores `stop` is cut here.
    """
    ends = [given.text.find(s) + len(s) for s in stops if s in given.text]
    if ends:
        return given.text[: min(ends)], True
    if given.stop in stops:
        return given.text + str(given.stop), True
    return given.text, False


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
