"""selfevo compare: what differs between runs, in settings, held-out results, learning speed and cost."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ..errors import UserError, nearest

CALL = "usage: selfevo compare DIR... [--baseline DIR]"
USAGE = f"""{CALL}
                       [--html FILE | --csv | --markdown | --latex | --json]

Settings, held-out results, paired differences, learning speed and cost of runs.
DIR: a run, a folder of runs, or a sweep; runs that differ by their seed alone
are one arm. For example: selfevo compare multirun/first --html first.html

  --baseline DIR  the run whose arm the others are held against (the first)
  --html FILE     write a page with tables and plots
  --csv           one line per run
  --markdown      the tables for GitHub
  --latex         the tables for LaTeX
  --json          everything, every differing key of the specs included"""

OPTIONS = ("--baseline", "--html", "--csv", "--markdown", "--latex", "--json")


def main(arguments: Sequence[str]) -> int:
    """Print the comparison. Raises UserError for a wrong call or a folder without runs."""
    if any(a in ("-h", "--help") for a in arguments):
        print(USAGE)
        return 0
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--baseline", type=Path)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--html", type=Path)
    for name in OPTIONS[2:]:
        form.add_argument(name, dest="form", action="store_const", const=name.removeprefix("--"))

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; {CALL}")

    parser.error = refuse  # type: ignore[method-assign, assignment]
    options, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise UserError(f"unknown option '{unknown[0]}'{nearest(unknown[0], OPTIONS)}")
    if not options.folders:
        raise UserError(f"which runs? {CALL}")
    if options.html is not None:
        _check(options.html)
    from ..comparing import show
    from ..comparing.comparison import compare
    from .plain import columns

    comparison = compare(options.folders, options.baseline)
    if options.html is not None:
        from ..report.compare import write

        print(write(comparison, options.html))
        return 0
    if options.form is None:
        text = show.terminal(comparison, max(columns(), 40))
    else:
        text = {"csv": show.as_csv, "markdown": show.markdown, "latex": show.latex, "json": show.as_json}[options.form](comparison)
    sys.stdout.write(text)
    return 0


def _check(page: Path) -> None:
    """Say what is wrong with the place of a page before the runs are read."""
    if page.is_dir():
        raise UserError(f"--html {page}: is a folder; expected the name of a file, such as {page / 'compare.html'}")
    if not page.parent.is_dir():
        raise UserError(f"--html {page}: there is no folder {page.parent}")
