"""What a tool says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is written into the reply whatever the status; `status` is "ok", or how the call failed ("error", "timeout", ...)."""

    text: str
    status: str = "ok"
