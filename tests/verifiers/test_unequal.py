"""What is told apart before it is simplified or solved is what math-verify tells apart, and numbers read at once are those it reads."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latex2sympy2_extended import latex2sympy2
from math_verify import grader, parse, verify
from sympy import E, Eq, Float, I, Integer, Rational, Symbol, expand, factorial, pi, simplify, sin, sqrt, srepr, symbols

from benchmarks.math_pairs import distinct
from selfevo.verifiers.latex import read_numbers_at_once
from selfevo.verifiers.unequal import differ, other_lines, refuse_early

x, y = symbols("x y", real=True)
leaves = st.sampled_from([x, y, pi, sqrt(2), Rational(1, 3), *map(Integer, range(-3, 4))])


def _larger(inner):
    return st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(lambda a, n: a**n, inner, st.integers(0, 3)),
        st.builds(lambda a, b: a / b, inner, leaves.filter(bool)),
        st.builds(lambda a: sqrt(a * a + 1), inner),
    )


expressions = st.recursive(leaves, _larger, max_leaves=5)
coefficient = st.integers(-4, 4).filter(bool)
lines = st.builds(
    lambda a, b, c, d: Eq(a * y + d, b * x + c, evaluate=False), coefficient, coefficient, st.integers(-4, 4), st.integers(-1, 1)
)


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("math_verify").setLevel(logging.ERROR)


@settings(max_examples=120, deadline=None)
@given(expressions, expressions)
def test_what_is_told_apart_does_not_simplify_to_nothing(a, b):
    if differ(a, b):
        assert simplify(a - b).is_zero is not True


@settings(max_examples=60, deadline=None)
@given(expressions, leaves)
def test_equal_expressions_in_different_dress_are_not_told_apart(a, b):
    assert not differ(a, expand(a))
    assert not differ((a + b) ** 2, expand(a * a + 2 * a * b + b * b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (2 * sqrt(3), sqrt(13)),
        (pi * Rational(3, 7), pi * Rational(4, 7)),
        (x**2 + 5 * x + 7, (x + 2) * (x - 3)),
        (x, y),
        (1 / x, 2 / x),
        (E, pi),
    ],
)
def test_near_misses_are_told_apart(a, b):
    assert differ(a, b)
    assert not differ(a, a)


@pytest.mark.parametrize(
    "odd",
    [
        Float("0.5"),
        I,
        sin(1),
        factorial(3, evaluate=False),
        Integer(2) ** 100000,
        sqrt(Integer(-2)),
        Symbol("n", integer=True),
        "text",
        None,
    ],
)
def test_what_is_no_plain_value_is_left_to_math_verify(odd):
    assert not differ(odd, Integer(7)) and not differ(Integer(7), odd)
    assert not other_lines(odd, Eq(y, 2 * x)) and not other_lines(Eq(y, 2 * x), odd)


@settings(max_examples=40, deadline=None)
@given(lines, lines)
def test_lines_told_apart_are_those_that_differ_once_solved(a, b):
    def solved():
        try:
            return grader.sympy_solve_and_compare(a, b, 6, 15)
        except Exception:  # which math-verify takes for a no
            return False

    assert other_lines(a, b) is not solved()


def test_equations_of_one_symbol_of_curves_and_of_large_numbers_are_left_to_math_verify():
    for a, b in [(Eq(x, 2), Eq(x, 3)), (Eq(y, x**2), Eq(y, x)), (Eq(y, 2 * x), Eq(y, 100_000 * x)), (Eq(y, 2 * x), Eq(y, 2 * Symbol("z")))]:
        assert not other_lines(a, b)


@pytest.fixture
def _plain(monkeypatch):
    """math-verify as it comes, put back at the end."""
    for name in ("sympy_symbolic_eq", "sympy_solve_and_compare"):
        monkeypatch.setattr(grader, name, getattr(grader, name))
    monkeypatch.setattr(latex2sympy2._Latex2Sympy, "parse_number", latex2sympy2._Latex2Sympy.parse_number)


@pytest.mark.usefixtures("_plain")
def test_readings_and_verdicts_of_all_kinds_of_pairs_stay_those_of_math_verify():
    pairs = distinct(3, 80)

    def said():
        out = []
        for pair in pairs:
            one, other = (parse(f"${text}$", parsing_timeout=None) or parse(text, parsing_timeout=None) for text in pair)
            out.append((repr(one), repr(other), verify(one, other, timeout_seconds=None)))
        return out

    plain = said()
    assert 10 < sum(verdict for *_, verdict in plain) < 70
    read_numbers_at_once()
    refuse_early()
    assert said() == plain


@pytest.mark.parametrize(
    "text", ["0", "7", "007", "1,234", "3.25", "0.10", "03.5", ".5", "5.", "1" * 30, "0." + "3" * 40, "1" * 120, "١٢", "1e5"]
)
@pytest.mark.usefixtures("_plain")
def test_numbers_read_at_once_are_those_sympy_reads(text):
    def read():
        try:
            return srepr(latex2sympy2._Latex2Sympy().parse_number(text))
        except Exception as error:
            return repr(error)

    plain = read()
    read_numbers_at_once()
    assert read() == plain
