"""selfevo compare: what differs between runs, in settings, held-out results, learning speed and cost."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ..errors import UserError, nearest

USAGE = "usage: selfevo compare DIR... [--baseline DIR] [--csv | --markdown | --latex | --json]  (DIR: runs, folders of runs, sweeps)"

OPTIONS = ("--baseline", "--csv", "--markdown", "--latex", "--json")


def main(arguments: Sequence[str]) -> int:
    """Print the comparison. Raises UserError for a wrong call or a folder without runs."""
    if any(a in ("-h", "--help") for a in arguments):
        print(USAGE)
        return 0
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument(OPTIONS[0], type=Path)
    for name in OPTIONS[1:]:
        parser.add_argument(name, dest="form", action="store_const", const=name.removeprefix("--"))

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; {USAGE}")

    parser.error = refuse  # type: ignore[method-assign, assignment]
    options, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise UserError(f"unknown option '{unknown[0]}'{nearest(unknown[0], OPTIONS)}")
    if not options.folders:
        raise UserError(f"which runs? {USAGE}")
    from ..comparing import show
    from ..comparing.comparison import compare

    comparison = compare(options.folders, options.baseline)
    if options.form is None:
        width = os.get_terminal_size().columns if sys.stdout.isatty() else 80
        text = show.terminal(comparison, max(width, 40))
    else:
        text = {"csv": show.as_csv, "markdown": show.markdown, "latex": show.latex, "json": show.as_json}[options.form](comparison)
    sys.stdout.write(text)
    return 0
