"""selfevo report: write a run's report again from what its directory holds."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from ..errors import UserError


def main(arguments: Sequence[str]) -> int:
    """Write DIR/report.html and print where it is."""
    if len(arguments) != 1:
        raise UserError("usage: selfevo report DIR")
    if importlib.util.find_spec("selfevo.report") is None:
        raise UserError("report: this installation has no report writer")
    report = importlib.import_module("selfevo.report")
    print(report.write(arguments[0]))
    return 0
