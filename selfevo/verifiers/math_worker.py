"""The program of one worker process: compares mathematical expressions, one JSON request per line, until its input ends.

It is killed from outside when it takes too long. Should its parent have died, the alarm (whose default action ends the process even
inside C code) does it, so no worker outlives its request by more than `GRACE` seconds.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

from .latex import read_in_two_stages, read_numbers_at_once
from .unequal import refuse_early

REMEMBERED = 1024
"""Texts whose expressions are kept: a reference is judged against once for every reply to its task, and replies agree with each other."""

GRACE = 5.0
"""Seconds after the parent's deadline at which a worker ends itself."""


def limit_memory(megabytes: int) -> None:
    """Bounds the address space; what needs more gets a MemoryError. No core files."""
    size = megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@lru_cache(maxsize=REMEMBERED)
def parsed(text: str) -> tuple[Any, ...]:
    """What math-verify reads: the text as mathematics, else as it stands. Time-outs are left to the parent."""
    from math_verify import parse

    return tuple(parse(f"${text}$", parsing_timeout=None) or parse(text, parsing_timeout=None))


def judge(gold: str, answer: str) -> dict[str, Any]:
    """{"right": bool}, or {"error": message} when the reference cannot be read or the comparison breaks."""
    from math_verify import verify

    reference = parsed(gold)
    if not reference:
        return {"error": f"the reference answer {gold!r} cannot be read as mathematics"}
    given = parsed(answer)
    return {"right": bool(given) and bool(verify([*reference], [*given], timeout_seconds=None, raise_on_error=True))}


def answered(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request, whatever sympy raises."""
    signal.setitimer(signal.ITIMER_REAL, request["timeout"] + GRACE)
    try:
        return judge(request["gold"], request["answer"])
    except Exception as e:  # sympy raises nearly anything on odd input; the parent records it as the row's error
        return {"error": " ".join(f"{type(e).__name__}: {e}".split())[:300], "spent": isinstance(e, (MemoryError, RecursionError))}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Serve standard input until it ends. The first line sent is "ready"; a worker that ran out of memory or stack does not go on."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a stray print must not look like a reply
    read_in_two_stages()
    read_numbers_at_once()
    refuse_early()
    judge("1", "1")  # loads and warms everything before the clock runs
    gc.freeze()  # what is loaded stays: later collections pass over it
    limit_memory(int(sys.argv[1]))
    replies.write('"ready"\n')
    for line in sys.stdin:
        reply = answered(json.loads(line))
        replies.write(json.dumps(reply) + "\n")
        if reply.get("spent"):
            return


if __name__ == "__main__":
    main()
