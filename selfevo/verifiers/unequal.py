"""Expressions that certainly differ, told apart before math-verify simplifies their difference or solves both.

Nothing is ever called equal here. `simplify` keeps the value of an expression wherever it has one, so that a difference which is not zero
at one point does not become the number zero; what cannot be told apart with certainty is left to math-verify.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

LARGEST_POWER = 64
LARGEST_NUMBER = 10**12
"""Of numerators and denominators: it bounds the work."""
LARGEST_COEFFICIENT = 10**3
"""Of an equation of a line, so that lines that differ do so by far more than math-verify rounds away."""


class Unsure(Exception):
    """Nothing certain can be said."""


def refuse_early() -> None:
    """Have math-verify, in this process, ask `differ` before it simplifies and `other_lines` before it solves."""
    from math_verify import grader

    symbolic, solved = grader.sympy_symbolic_eq, grader.sympy_solve_and_compare
    grader.sympy_symbolic_eq = lambda a, b: not differ(a, b) and symbolic(a, b)
    grader.sympy_solve_and_compare = lambda a, b, *rounding: not other_lines(a, b) and solved(a, b, *rounding)


def differ(a: Any, b: Any) -> bool:
    """Whether two sympy expressions have different values where each symbol has a certain positive value."""
    try:
        names = sorted(a.free_symbols | b.free_symbols, key=str)
        at = {symbol: (13 + 8 * i, 8) for i, symbol in enumerate(names)}  # eighths: few bits, no likely roots
        one, other = _value(a, at), _value(b, at)
        return bool(one.b < other.a or other.b < one.a)
    except Exception:  # Unsure, and whatever sympy or mpmath raise on odd input
        return False


@cache
def _intervals() -> Any:
    """Interval arithmetic: every result encloses the true value."""
    from mpmath.ctx_iv import MPIntervalContext

    return MPIntervalContext()


def _value(e: Any, at: Mapping[Any, tuple[int, int]]) -> Any:
    """An interval that holds the value of a sum, product or power of rational numbers, pi, e and symbols. Raises Unsure for others."""
    from sympy import UnevaluatedExpr, pi
    from sympy.core.numbers import Exp1

    iv = _intervals()
    if e.is_Rational:
        return _ratio(e.p, e.q)
    if e.is_Symbol:
        if e.is_commutative is not True or e.is_integer is not None or e.is_positive is not None:
            raise Unsure
        return _ratio(*at[e])
    if e is pi:
        return iv.pi
    if isinstance(e, Exp1):
        return iv.e
    if e.is_Add or e.is_Mul:
        parts = [_value(x, at) for x in e.args]
        total = parts[0]
        for part in parts[1:]:
            total = total + part if e.is_Add else total * part
        return _finite(total)
    if e.is_Pow and e.exp.is_Rational:
        return _finite(_power(_value(e.base, at), int(e.exp.p), int(e.exp.q)))
    if isinstance(e, UnevaluatedExpr):
        return _value(e.args[0], at)
    raise Unsure


def _ratio(p: int, q: int) -> Any:
    if max(abs(p), q) > LARGEST_NUMBER:
        raise Unsure
    iv = _intervals()
    return iv.mpf(int(p)) / int(q)


def _power(base: Any, p: int, q: int) -> Any:
    """base^(p/q), the principal root: of bases above zero unless the power is a whole one."""
    if max(abs(p), q) > LARGEST_POWER:
        raise Unsure
    above, below = base.a > 0, base.b < 0
    if q == 1 and (p >= 0 or above or below):
        return base**p
    if not above:
        raise Unsure
    iv = _intervals()
    return iv.sqrt(base) ** p if q == 2 else iv.exp(iv.log(base) * p / q)


def _finite(value: Any) -> Any:
    if not (value.a > -(10**100) and value.b < 10**100):
        raise Unsure
    return value


def other_lines(a: Any, b: Any) -> bool:
    """Whether two equations are of different lines (planes, ...) in the same two or more symbols: solved, they differ too."""
    from sympy import Eq

    try:
        if not isinstance(a, Eq) or not isinstance(b, Eq):
            return False
        one, other = (_minus(_linear(e.lhs), _linear(e.rhs)) for e in (a, b))
        symbols = one.keys() - {None}
        if len(symbols) < 2 or symbols != other.keys() - {None}:
            return False
        for form in (one, other):
            if any(not x or max(abs(x.numerator), x.denominator) > LARGEST_COEFFICIENT for s, x in form.items() if s is not None or x):
                return False
        by = next(iter(symbols))
        return any(one.get(s, 0) * other[by] != other.get(s, 0) * one[by] for s in {*symbols, None})
    except Exception:  # Unsure, and whatever sympy raises on odd input
        return False


Form = dict[Any, Fraction]
"""Coefficients by symbol; None: the constant."""


def _linear(e: Any) -> Form:
    """The coefficients of a linear expression. Raises Unsure for another."""
    if e.is_Rational:
        return {None: Fraction(int(e.p), int(e.q))}
    if e.is_Symbol and e.is_commutative:
        return {e: Fraction(1)}
    if e.is_Add:
        total: Form = {}
        for part in e.args:
            total = _plus(total, _linear(part))
        return total
    if e.is_Mul:
        total = {None: Fraction(1)}
        for part in e.args:
            one, other = total, _linear(part)
            if other.keys() - {None}:
                one, other = other, one
            if other.keys() - {None}:
                raise Unsure
            total = {s: x * other.get(None, Fraction(0)) for s, x in one.items()}
        return total
    raise Unsure


def _plus(a: Form, b: Form) -> Form:
    return {s: a.get(s, Fraction(0)) + b.get(s, Fraction(0)) for s in a.keys() | b.keys()}


def _minus(a: Form, b: Form) -> Form:
    return _plus(a, {s: -x for s, x in b.items()})
