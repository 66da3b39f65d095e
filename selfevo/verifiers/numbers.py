"""Numbers as people write them, read exactly."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal

Percent = Literal["hundredths", "ignore"]
"""What "50%" is: 1/2, or 50."""

LONGEST = 100
"""Longer texts are not numbers here: it bounds the work, as does the largest exponent, `TOP_EXPONENT`."""
TOP_EXPONENT = 300

_DRESS = {"\\$": "$", "\\%": "%", "−": "-", "{,}": ",", "\\,": "", "\\!": ""}
_DECIMAL = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
_POWER = r"(?:[eE]|\s*(?:\*|x|×|\\times|\\cdot)\s*10\s*\^)\s*\{?\s*(?P<exponent>[-+]?[0-9]{1,4})\s*\}?"
_SCIENTIFIC = re.compile(rf"(?P<mantissa>{_DECIMAL})(?:{_POWER})?")
_MIXED = re.compile(r"(?P<whole>[0-9]+)\s+(?P<top>[0-9]+)\s*/\s*(?P<bottom>[0-9]+)")
_RATIO = re.compile(rf"(?P<top>{_DECIMAL})\s*/\s*(?P<bottom>[-+]?(?:{_DECIMAL}))")
_LATEX = re.compile(r"(?P<whole>[0-9]*)\s*\\[dt]?frac\s*\{\s*(?P<top>[-+]?[0-9]+)\s*\}\s*\{\s*(?P<bottom>[-+]?[0-9]+)\s*\}")


def number(text: str, percent: Percent = "hundredths") -> Fraction | None:
    """The number that `text` as a whole denotes, or None.

    Understood: signs (also the Unicode minus), thousands commas, decimals, 1.5e3, 1.5 x 10^3, 3/4, 1 3/4, \\frac{3}{4}, 50%, a
    currency sign in front or behind, and a final full stop. Units and words are not: "5 apples" is no number.
    """
    if len(text) > LONGEST:
        return None
    bare = text.strip()
    for dressed, plain in _DRESS.items():
        bare = bare.replace(dressed, plain)
    bare = bare.strip().removesuffix(".").strip().strip("$€£").strip()
    part = bare.endswith("%")
    bare = bare.removesuffix("%").rstrip()
    sign, bare = (-1, bare[1:]) if bare.startswith("-") else (1, bare.removeprefix("+"))
    size = _size(bare.strip().lstrip("$€£").strip())
    if size is None:
        return None
    return sign * size / (100 if part and percent == "hundredths" else 1)


def _size(text: str) -> Fraction | None:
    """The number, its sign already taken off."""
    if m := _SCIENTIFIC.fullmatch(text):
        exponent = int(m["exponent"] or 0)
        return _decimal(m["mantissa"]) * Fraction(10) ** exponent if abs(exponent) <= TOP_EXPONENT else None
    if m := _MIXED.fullmatch(text):
        return _over(int(m["top"]), int(m["bottom"]), int(m["whole"]))
    if m := _RATIO.fullmatch(text):
        bottom = m["bottom"]
        return _over(_decimal(m["top"]), _decimal(bottom.lstrip("+-")) * (-1 if bottom.startswith("-") else 1), 0)
    if m := _LATEX.fullmatch(text):
        return _over(int(m["top"]), int(m["bottom"]), int(m["whole"] or 0))
    return None


def _over(top: int | Fraction, bottom: int | Fraction, whole: int) -> Fraction | None:
    return None if bottom == 0 else whole + Fraction(top) / Fraction(bottom)


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").rstrip(".") or "0")
