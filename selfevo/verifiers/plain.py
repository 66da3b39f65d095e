"""Verdicts on plain numbers without a computer algebra system: only those that math-verify is sure to give too."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

# Sizes are such that floats hold every digit and two different values differ by more than math-verify's comparisons round away.
_NUMBER = re.compile(
    r"(?P<sign>-?)(?:(?P<whole>0|[1-9][0-9]{0,8})(?P<part>\.[0-9]{1,6})?"
    r"|(?P<top>[1-9][0-9]{0,4})/(?P<bottom>[1-9][0-9]{0,4})"
    r"|\\[dt]?frac\{(?P<above>[1-9][0-9]{0,4})\}\{(?P<below>[1-9][0-9]{0,4})\})",
    re.ASCII,
)
_ROUNDED = Fraction(1, 10**5)
"""Where a decimal is involved math-verify rounds to 6 places: values closer than this are left to it."""


def settled(gold: str, answer: str) -> bool | None:
    """Whether two plain numbers (-12, 0.5, 3/4, \\frac{3}{4}) are equal; None for anything else, or where rounding could decide."""
    one, other = _read(gold), _read(answer)
    if one is None or other is None:
        return None
    if one[0] == other[0]:
        return True
    decimal = one[1] or other[1]
    return None if decimal and abs(one[0] - other[0]) <= _ROUNDED else False


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[Fraction, bool] | None:
    """Value, and whether it is written as a decimal."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    if match["whole"] is not None:
        size = Fraction(match["whole"] + (match["part"] or ""))
        if match["sign"] and not size:
            return None
    else:
        size = Fraction(int(match["top"] or match["above"]), int(match["bottom"] or match["below"]))
    return (-size if match["sign"] else size), match["part"] is not None
