"""References and answers as mathematical tasks give them: a seeded mix of kinds, right in another dress, right as text, or near misses."""

from __future__ import annotations

import random
from collections.abc import Callable

Made = tuple[str, list[str], list[str]]
"""Reference, ways to write it, wrong answers."""


def integer(r: random.Random) -> Made:
    n = r.randrange(2, 3000)
    return f"{n}", [f"{n}.0", f"{n}.00", f"+{n}"], [f"{n + r.randrange(1, 9)}", f"-{n}", f"{n // 2}", f"{n}0"]


def money(r: random.Random) -> Made:
    n = r.randrange(1000, 90000)
    return f"{n}", [f"\\${n:,}", f"{n}\\text{{ dollars}}"], [f"\\${n + 10:,}", f"{n - 1}\\text{{ dollars}}"]


def decimal(r: random.Random) -> Made:
    n = r.randrange(1, 400) * 2 + 1
    return f"{n / 4:.2f}", [f"\\frac{{{n}}}{{4}}", f"{n}/4", f"{n / 4:.3f}"], [f"{n / 4 + 0.1:.2f}", f"\\frac{{{n}}}{{5}}"]


def fraction(r: random.Random) -> Made:
    a, b = r.randrange(1, 60), r.choice((7, 9, 11, 13, 17, 19))
    a += a % b == 0
    return f"\\frac{{{a}}}{{{b}}}", [f"{a}/{b}", f"\\dfrac{{{3 * a}}}{{{3 * b}}}"], [f"\\frac{{{a + 1}}}{{{b}}}", f"{b}/{a}", f"{a}"]


def percent(r: random.Random) -> Made:
    n = r.randrange(2, 99)
    return f"{n}\\%", [f"{n}%", f"{n / 100:.2f}"], [f"{n + 1}\\%", f"{n / 50:.2f}"]


def root(r: random.Random) -> Made:
    a, b = r.randrange(2, 12), r.choice((2, 3, 5, 6, 7))
    return f"{a}\\sqrt{{{b}}}", [f"\\sqrt{{{a * a * b}}}", f"\\sqrt{{{b}}}\\cdot {a}"], [f"{a + 1}\\sqrt{{{b}}}", f"\\sqrt{{{a * b}}}"]


def circle(r: random.Random) -> Made:
    a, b = r.randrange(2, 40), r.choice((3, 7, 11))
    return f"\\frac{{{a}\\pi}}{{{b}}}", [f"{a}\\pi/{b}", f"\\frac{{{2 * a}}}{{{2 * b}}}\\pi"], [f"\\frac{{{a + 1}\\pi}}{{{b}}}", f"{a}\\pi"]


def quadratic(r: random.Random) -> Made:
    a, b = r.randrange(1, 12), r.randrange(1, 12)
    gold = f"x^2+{a + b}x+{a * b}"
    return gold, [f"(x+{a})(x+{b})", f"{a * b}+{a + b}x+x^2"], [f"x^2+{a + b}x+{a * b + 1}", f"(x+{a})(x-{b})"]


def interval(r: random.Random) -> Made:
    a, b = r.randrange(-9, 5), r.randrange(6, 40)
    return f"[{a}, {b})", [f"\\left[{a},{b}\\right)"], [f"[{a},{b}]", f"({a},{b})", f"[{a},{b + 1})"]


def pair(r: random.Random) -> Made:
    a, b = r.randrange(-20, 20), r.randrange(1, 50)
    return f"({a},{b})", [f"\\left({a}, {b}\\right)"], [f"({a},{b + 1})", f"({b},{a})"]


def roots(r: random.Random) -> Made:
    a, b = r.randrange(-20, 5), r.randrange(6, 50)
    return f"\\{{{a},{b}\\}}", [f"\\{{{b}, {a}\\}}", f"{a}, {b}"], [f"\\{{{a},{b + 2}\\}}", f"\\{{{b}\\}}"]


def equation(r: random.Random) -> Made:
    a, b = r.randrange(2, 9), r.randrange(1, 30)
    return f"y = {a}x + {b}", [f"y={b}+{a}x"], [f"y={a}x-{b}", f"y={a + 1}x+{b}"]


def length(r: random.Random) -> Made:
    n, unit = r.randrange(2, 400), r.choice(("cm", "inches", "\\text{ m}^2", "\\text{ units}"))
    return f"{n}", [f"{n}\\text{{ cm}}", f"{n} {unit}"], [f"{n + 3}\\text{{ cm}}", f"{n * 2} {unit}"]


def word(r: random.Random) -> Made:
    gold, other = r.sample(["\\text{Evelyn}", "\\text{even}", "\\text{odd}", "\\text{neither}", "(B)", "(D)", "\\text{Tuesday}"], 2)
    return gold, [gold.replace("\\text", "\\mathrm")], [other, other.strip("()")]


KINDS: dict[Callable[[random.Random], Made], int] = {
    integer: 42, money: 4, decimal: 6, fraction: 12, percent: 3, root: 6, circle: 4, quadratic: 4, interval: 4, pair: 4, roots: 3,
    equation: 3, length: 3, word: 2,
}  # fmt: skip
"""Shares in percent, near those of competition and school problems: numbers first."""


def grouped(seed: int, tasks: int, replies: int) -> list[tuple[str, str]]:
    """(reference, answer) of `replies` answers to each of `tasks` references; as a policy answers, so they repeat within a task: about 35%
    are right as text, 15% right in another dress, the rest wrong."""
    r = random.Random(seed)
    out = []
    for make in r.choices(list(KINDS), list(KINDS.values()), k=tasks):
        gold, dressed, wrong = make(r)
        for _ in range(replies):
            at = r.random()
            out.append((gold, gold if at < 0.35 else r.choice(dressed) if at < 0.5 else r.choice(wrong)))
    return out


def distinct(seed: int, count: int) -> list[tuple[str, str]]:
    """The same mix without any pair twice, and without answers equal to their reference as text."""
    r = random.Random(seed)
    out: dict[tuple[str, str], None] = {}
    while len(out) < count:
        (make,) = r.choices(list(KINDS), list(KINDS.values()))
        gold, dressed, wrong = make(r)
        out[gold, r.choice(dressed) if r.random() < 0.3 else r.choice(wrong)] = None
    return list(out)
