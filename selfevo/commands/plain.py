"""Tables and lines on standard output: styled at a terminal, elsewhere plain text without control codes or trailing spaces."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH = 80
"""Columns where nobody says how many there are."""


def columns() -> int:
    """Columns of standard output: the terminal's, else what `COLUMNS` says, else WIDTH."""
    said = os.environ.get("COLUMNS", "")
    if sys.stdout.isatty():
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
    return int(said) if said.isdigit() and int(said) else WIDTH


def say(text: str, to: TextIO | None = None, hang: int | None = None) -> None:
    """Print a line on `to` (standard output): at a terminal broken between words, elsewhere as it is. `hang`: columns by which what
    follows the first line is set in (default: four more than the line)."""
    to = sys.stdout if to is None else to
    if to.isatty():
        from ..view import wrapped

        text = wrapped(text, os.get_terminal_size(to.fileno()).columns or WIDTH, hang)
    print(text, file=to, flush=True)


def typed(words: Sequence[str], width: int) -> str:
    """A command as one would type it, on lines of at most `width` columns where its words allow that."""
    lines = [words[0]]
    for word in map(shlex.quote, words[1:]):
        if len(lines[-1]) + 1 + len(word) > width - 2:
            lines[-1] += " \\"
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines)


def put(parts: Iterable[RenderableType]) -> None:
    """Print them in order. `COLUMNS` says how wide tables may be where there is no terminal."""
    from rich.console import Console

    if sys.stdout.isatty():
        console = Console(highlight=False)
        for part in parts:
            console.print(part, markup=False)
        return
    console = Console(highlight=False, width=columns(), color_system=None, force_terminal=False)
    for part in parts:
        with console.capture() as held:
            console.print(part, markup=False, soft_wrap=isinstance(part, str))
        print("\n".join(line.rstrip() for line in held.get().removesuffix("\n").split("\n")))
