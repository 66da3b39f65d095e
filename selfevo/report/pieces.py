"""Where one sampled token ends and the next begins in the text of a turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .read import RunData

WINDOW = 8
"""Most tokens that make up one character, an emoji in bytes among them."""

Decode = Callable[[Sequence[int]], str]


def decoder(run: RunData, policy: str) -> Decode | None:
    """What turns ids of a policy ("solver@000003") into text, or None where its tokenizer is not at hand. Imports no torch."""
    name = policy.partition("@")[0]
    for file in _files(run, name):
        if file.is_file():
            return _load(file)
    return None


def _files(run: RunData, name: str) -> Iterator[Path]:
    yield from sorted((run.root / "policies" / name).glob("*/tokenizer.json"))[:1]
    policies = run.spec.get("policies")
    model = policies.get(name) if isinstance(policies, Mapping) else None
    path = model.get("path") if isinstance(model, Mapping) else None
    if path == "tiny":
        yield Path(__file__).parent.parent / "assets" / "tiny" / "tokenizer.json"
    elif isinstance(path, str):
        yield Path(path) / "tokenizer.json"


@cache
def _load(file: Path) -> Decode | None:
    from tokenizers import Tokenizer

    try:
        found = Tokenizer.from_file(str(file))
    except Exception:  # the library raises bare Exception for a file it cannot read; the page shows the text without tokens
        return None
    return lambda ids: _one(found, ids[0]) if len(ids) == 1 else str(found.decode(list(ids), skip_special_tokens=True))


@cache
def _one(tokenizer: Any, token: int) -> str:
    return str(tokenizer.decode([token], skip_special_tokens=True))


def cuts(ids: Sequence[int], text: str, decode: Decode) -> list[int] | None:
    """Length of each token in UTF-16 units, which is how a browser counts; None where the tokens do not spell the text.

    A character that several tokens make up belongs to the last of them.
    """
    out: list[int] = []
    spelled, held = "", []
    for token in ids:
        held.append(token)
        piece = decode(held)
        if len(held) < WINDOW and (piece.endswith("\ufffd") or not text.startswith(piece, len(spelled))):
            out.append(0)
            continue
        out.append(units(piece))
        spelled += piece
        held = []
    return out if spelled + (decode(held) if held else "") == text else None


def units(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text) + sum(ord(c) > 0xFFFF for c in text)
