"""What the endpoint's tests share: the key, the codec, requests of one message."""

from __future__ import annotations

from collections.abc import Sequence

from selfevo.models import Endpoint
from selfevo.protocols import Completion, GenerateRequest, Sampling
from selfevo.records import Message

KEY = "sk-test-0123456789abcdef0123456789"
VARIABLE = "JUDGE_KEY"
CODEC = Endpoint().load("judge").codec


def ask(text: str = "1+1=2 ok?", seed: int = 0, **sampling: object) -> GenerateRequest:
    """A request whose conversation is one message of the user."""
    return GenerateRequest(CODEC.open([Message("user", text)]), seed, Sampling(**{"max_tokens": 32, **sampling}))  # type: ignore[arg-type]


def texts(completions: Sequence[Completion]) -> list[str]:
    """Their texts."""
    return [c.text for c in completions]
