"""selfevo validate: compose and check a spec without starting anything (and without importing torch), and say what it would do."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence

from ..spec import preflight
from . import arguments as args

USAGE = """usage: selfevo validate [key=value ...] [--config-dir DIR]

Takes the arguments of `selfevo run`, starts nothing, and says in sentences what
such a run does: who samples what, how it is judged, what is trained, how often
it is measured, how much is sampled. Mistakes are listed all at once, with exit
status 2.

  selfevo validate experiment=quickstart optimizer=rloo scale=tiny"""


def main(arguments: Sequence[str]) -> int:
    """Explain the spec when it is sound; raise SpecErrors with all of its mistakes when it is not."""
    if any(a in ("-h", "--help") for a in arguments):
        print(USAGE)
        return 0
    options = args.parse(arguments)
    _, spec = preflight(options.overrides, args.folders(options), options.config_name or "config", args.sweeps(options))
    from ..catalogue.sentences import sentences

    columns = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None
    for line in (f"{spec.name}: the spec is sound", *sentences(spec)):
        if columns is None:
            print(line)
            continue
        indent = line[: len(line) - len(line.lstrip())] + "  "
        print(textwrap.fill(line, max(columns, 40), subsequent_indent=indent, break_on_hyphens=False))
    return 0
