"""How the report writes numbers."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Four significant digits; from a thousand on whole, with thousands separated; very small and large ones with an exponent."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if 1e3 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e3 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """38 ms, 1.25 s, 3 min 20 s, 2 h 5 min; a dash for no time at all."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms" if seconds >= 0.0005 else "< 1 ms" if seconds > 0 else "–"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def share(part: float, whole: float) -> str:
    """A percentage with one decimal, or nothing to say of nothing."""
    return f"{100 * part / whole:.1f}%" if whole > 0 else "–"


def short(text: str) -> str:
    """A setting for reading: a long number with four digits."""
    if len(text) > 8:
        try:
            return f"{float(text):.4g}"
        except ValueError:
            return text
    return text
