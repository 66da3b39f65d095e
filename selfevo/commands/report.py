"""selfevo report: write the report of a run, or of a folder of runs, from what its directory holds."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError


def main(arguments: Sequence[str]) -> int:
    """Write DIR/report.html and print where it is."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise UserError("usage: selfevo report DIR   (DIR: a run, or a folder of runs such as a sweep)")
    from ..report import write

    print(write(arguments[0]))
    return 0
