"""selfevo report: write the report of a run, or of a folder of runs, from what its directory holds."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError

USAGE = """usage: selfevo report DIR

Writes DIR/report.html, a page that works offline: of a run, or of a folder of
runs such as a sweep, which are ranked. Runs and sweeps write it when they end;
this writes it again, of a run that is still going on as well.

  selfevo report outputs/quickstart/<time>"""


def main(arguments: Sequence[str]) -> int:
    """Write DIR/report.html and print where it is."""
    if any(a in ("-h", "--help") for a in arguments):
        print(USAGE)
        return 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise UserError("usage: selfevo report DIR   (DIR: a run, or a folder of runs such as a sweep)")
    from ..report import write

    print(write(arguments[0]))
    return 0
