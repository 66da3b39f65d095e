"""Every short cut of the mathematical verdict says what math-verify says: plain numbers, two-stage parsing, questions asked once."""

from __future__ import annotations

import logging
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latex2sympy2_extended import latex2sympy2
from math_verify import parse, verify

from selfevo.verifiers import Math
from selfevo.verifiers.latex import read_in_two_stages
from selfevo.verifiers.math import WORKER
from selfevo.verifiers.plain import settled
from selfevo.verifiers.pool import Pool, shared

GOLDS = {
    "12": ["12.0", "+12", "-12", "13", "12%", "12\\text{ cm}", "\\frac{24}{2}", "1,2"],
    "1200": ["1,200", "\\$1,200", "1200 dollars", "120", "1.2\\times 10^3"],
    "0.5": ["\\frac{1}{2}", "1/2", ".5", "50\\%", "0.50", "0.500001", "\\frac{2}{3}"],
    "\\frac{1}{3}": ["0.333333", "0.3333", "\\dfrac{3}{9}", "1/3", "\\frac13", "3", "-\\frac{1}{3}"],
    "2\\sqrt{2}": ["\\sqrt{8}", "\\sqrt{2}\\cdot 2", "2.828427", "2\\sqrt{3}"],
    "\\frac{3\\pi}{4}": ["3\\pi/4", "0.75\\pi", "135^\\circ", "\\frac{\\pi}{4}"],
    "x^2+2x+1": ["(x+1)^2", "1+2x+x^2", "x^2+2x", "y^2+2y+1"],
    "[0, 1)": ["\\left[0,1\\right)", "[0,1]", "(0,1)", "0 \\le x < 1"],
    "(3,4)": ["\\left(3, 4\\right)", "(4,3)", "(3,4,5)", "3,4"],
    "\\{1,2\\}": ["\\{2,1\\}", "1, 2", "\\{1,2,3\\}", "\\{1\\}"],
    "y = 2x + 1": ["y=1+2x", "2x+1", "y=2x-1", "y - 2x = 1"],
    "x = 3": ["3", "x=3", "y=3", "4"],
    "(-\\infty, 2) \\cup (3, \\infty)": ["(3,\\infty)\\cup(-\\infty,2)", "(-\\infty,3)"],
    "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}": [
        "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3&5\\end{pmatrix}",
    ],
    "\\text{Evelyn}": ["Evelyn", "\\mathrm{Evelyn}", "\\text{even}"],
    "(B)": ["B", "\\text{B}", "(C)", "((((", "\\frac{1}{", "no idea"],
}
CASES = [(gold, answer) for gold, answers in GOLDS.items() for answer in [gold, *answers]]

whole = st.integers(-999_999_999, 999_999_999).map(str)
small = st.integers(-20, 20).map(str)
decimal = st.decimals(-1000, 1000, places=3).map(lambda d: f"{d:f}".replace("-0.000", "0.000"))
top, bottom = st.integers(1, 60), st.integers(1, 60)
ratio = st.builds("{}{}/{}".format, st.sampled_from(["", "-"]), top, bottom)
latex = st.builds("{}\\{}{{{}}}{{{}}}".format, st.sampled_from(["", "-"]), st.sampled_from(["frac", "dfrac", "tfrac"]), top, bottom)
number = st.one_of(whole, small, decimal, ratio, latex)


@pytest.fixture(scope="module", autouse=True)
def _quiet_and_no_worker_left():
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    yield
    shared(WORKER, 1, ["2048"]).close()


def by_math_verify(gold, answer):
    """math-verify's own verdict, its parsers as they come."""
    one, other = (parse(f"${text}$", parsing_timeout=None) or parse(text, parsing_timeout=None) for text in (gold, answer))
    return bool(verify(one, other, timeout_seconds=None, raise_on_error=True))


def judge(cases, make_row, ctx):
    rows = [make_row(f"so \\boxed{{{answer}}}", gold) for gold, answer in cases]
    return Math(extract="boxed", timeout=30.0, workers=1)(rows, ctx("math"))


def test_verdicts_are_those_of_math_verify(make_row, ctx):
    cases = [(g, a) for g, a in CASES if a.count("{") == a.count("}")]  # others are no content of a box
    assert [r.reward("math") for r in judge(cases, make_row, ctx)] == [float(by_math_verify(g, a)) for g, a in cases]


@settings(max_examples=60, deadline=None)
@given(number, number)
def test_plain_numbers_are_settled_as_math_verify_settles_them(gold, answer):
    said = settled(gold, answer)
    assert said is None or said == by_math_verify(gold, answer)


@settings(max_examples=25, deadline=None)
@given(top, bottom, st.integers(1, 9))
def test_equal_plain_numbers_in_different_dress_are_settled_as_equal(a, b, k):
    assert settled(f"{a}/{b}", f"\\frac{{{k * a}}}{{{k * b}}}") is True
    assert by_math_verify(f"{a}/{b}", f"\\frac{{{k * a}}}{{{k * b}}}")


def test_rounding_and_anything_but_plain_numbers_are_left_to_math_verify():
    for gold, answer in [("1/3", "0.333333"), ("0.5", "0.500001"), ("-0", "0"), ("1,200", "1200"), ("12", "12%"), ("007", "7"), ("x", "1"),
                         ("1e5", "100000"), ("１２", "12"), ("1" * 30, "1" * 29 + "2")]:  # fmt: skip
        assert settled(gold, answer) is None


def tree(parser_class, text, monkeypatch):
    """The parse tree, or what the parser says against the text."""
    monkeypatch.setattr(latex2sympy2, "PSParser", parser_class)
    try:
        parser = latex2sympy2._Latex2Sympy(None, True, False).create_parser(text)
        return parser.math().toStringTree(recog=parser)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def test_two_stage_parsing_gives_the_same_trees_and_the_same_errors(monkeypatch):
    plain = latex2sympy2.PSParser
    monkeypatch.setattr(latex2sympy2, "PSParser", plain)  # put back at the end
    read_in_two_stages()
    twice = latex2sympy2.PSParser
    rng = random.Random(0)
    texts = sorted({text for case in CASES for text in case})
    for text in texts[::3]:
        at = rng.randrange(len(text))
        texts += [text[:at] + text[at + 1 :], text[:at] + rng.choice("()[]{}+-=,<|^_§\\ ") + text[at:]]
    found = [tree(plain, text, monkeypatch) for text in texts]
    assert sum("Exception" in t for t in found) > 5
    assert [tree(twice, text, monkeypatch) for text in texts] == found


def test_equal_questions_are_asked_once_and_every_row_gets_its_answer(make_row, ctx, monkeypatch):
    asked = []
    real = Pool.run

    def run(self, requests, timeout):
        asked.append([(r["gold"], r["answer"]) for r in requests])
        return real(self, requests, timeout)

    monkeypatch.setattr(Pool, "run", run)
    cases = [("2", "1+1"), (" ", "3"), ("2", "1+2"), ("2", "1+1"), ("4", "1+1"), (" ", "3"), ("2", "2"), ("2", "3")]
    rows = judge(cases, make_row, ctx)
    assert asked == [[("2", "1+1"), (" ", "3"), ("2", "1+2"), ("4", "1+1")]]
    assert [r.score.statuses["math"] for r in rows] == ["ok", "error", "ok", "ok", "ok", "error", "ok", "ok"]
    assert [r.reward("math") for r in rows] == [1.0, None, 0.0, 1.0, 0.0, None, 1.0, 0.0]
    assert len({r.trajectory.id for r in rows}) == len(rows)


@pytest.mark.slow
def test_one_time_out_is_the_status_of_every_row_that_asked(make_row, ctx):
    rows = [make_row(f"\\boxed{{{a}}}", g) for g, a in [("5", "9^{9^{9^9}}"), ("3", "1+2"), ("5", "9^{9^{9^9}}")]]
    said = Math(timeout=2.0, workers=1)(rows, ctx("math"))
    assert [r.score.statuses["math"] for r in said] == ["timeout", "ok", "timeout"]
