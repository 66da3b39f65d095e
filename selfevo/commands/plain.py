"""Tables and lines on standard output: styled at a terminal, elsewhere plain text without control codes or trailing spaces."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

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
