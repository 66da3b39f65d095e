"""selfevo doctor: what this machine can run, a line for each thing, and what to do about what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EXIT_DONE, EXIT_OTHER, UserError, nearest
from .plain import put

if TYPE_CHECKING:
    from ..doctor import Finding

USAGE = """usage: selfevo doctor [--json]

What this machine can run, a line each, and what to do about what is missing.
Exit status 0, or 1 when something is missing that selfevo cannot do without."""
STYLES = {"ok": "green", "missing": "yellow", "problem": "red"}


def main(arguments: Sequence[str]) -> int:
    """Look, print, and say by the exit status whether selfevo can run at all."""
    if any(a in ("-h", "--help") for a in arguments):
        print(USAGE)
        return EXIT_DONE
    for argument in arguments:
        if argument != "--json":
            raise UserError(f"doctor: unknown argument '{argument}'{nearest(argument, ['--json'])}")
    found = look()
    if arguments:
        print(json.dumps([{**asdict(f)} for f in found], indent=1))
    else:
        show(found)
    return EXIT_OTHER if any(f.fatal for f in found) else EXIT_DONE


def look() -> list[Finding]:
    """Everything, in the order a user would ask."""
    from ..doctor import machine, parts

    return [
        machine.python(), parts.required(), *machine.torch(), parts.kernels(), machine.memory(), *machine.outputs(Path("outputs")),
        *parts.vllm(), *parts.deepspeed(), *parts.others(), *parts.sweepers(), parts.bubblewrap(), parts.wandb(),
    ]  # fmt: skip


def show(found: Sequence[Finding]) -> None:
    """One line each, the advice below what it is about."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("state", "name", "found"):
        table.add_column(name, no_wrap=name != "found", overflow="fold")
    for f in found:
        text = Text(f.found)
        if f.advice:
            text.append(f"\n-> {f.advice}", style="bold")
        table.add_row(Text(f.state, style=STYLES[f.state]), Text(f.name), text)
    wrong = [f.name for f in found if f.fatal]
    put([table, f"selfevo cannot run: {', '.join(wrong)}" if wrong else "selfevo can run here"])
