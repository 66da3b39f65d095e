"""Numbers read exactly, and judged without partial credit."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo.errors import UserError
from selfevo.verifiers import Numeric
from selfevo.verifiers.numbers import number

INTEGERS = st.integers(-(10**12), 10**12)


@settings(deadline=None, max_examples=80)
@given(INTEGERS, st.sampled_from(["{}", "{:,}", "${}", " {}. ", "{}.00", "{:+}"]))
def test_an_integer_is_read_back_from_every_dress(n, dress):
    assert number(dress.format(n)) == n


@settings(deadline=None, max_examples=80)
@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6))
def test_ratios_equal_their_latex_and_mixed_forms(top, bottom):
    value = Fraction(top, bottom)
    sign, size = ("-" if top < 0 else ""), abs(top)
    assert number(f"{top}/{bottom}") == value
    assert number(rf"{sign}\frac{{{size}}}{{{bottom}}}") == value
    assert number(f"{sign}{size // bottom} {size % bottom}/{bottom}") == value


@settings(deadline=None, max_examples=80)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**8), max_value=10**8))
def test_decimals_and_their_percentages_are_exact(x):
    assert number(str(x)) == Fraction(str(x))
    assert number(f"{x}%") == Fraction(str(x)) / 100
    assert number(f"{x}%", "ignore") == Fraction(str(x))


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=120))
def test_no_text_crashes_the_reader(text):
    assert number(text) is None or isinstance(number(text), Fraction)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5e3", 1500),
     (r"1.5 \times 10^{-2}", Fraction(3, 200)), ("−4", -4), (".5", Fraction(1, 2)), ("-$5", -5), (r"1{,}000", 1000), ("20€", 20)],
)
def test_other_ways_to_write_numbers(text, value):
    assert number(text) == value


NO_NUMBERS = ["", ".", "-", "%", "1/0", r"\frac{1}{0}", "5 apples", "1,23", "1e9999", "--3", "١٢", "1_000", "9" * 101, "nan", "inf"]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_other_texts_are_no_numbers(text):
    assert number(text) is None


def judge(part, text, answer, make_row, ctx):
    return part([make_row(text, answer)], ctx("n"))[0]


def test_equal_values_score_one_and_share_an_answer(make_row, ctx):
    rows = [judge(Numeric(), f"#### {x}", "0.5", make_row, ctx) for x in ("1/2", "0.50", "50%", r"\frac{1}{2}")]
    assert [(r.reward("n"), r.score.info["answer"]) for r in rows] == [(1.0, "1/2")] * 4


@pytest.mark.parametrize("text", ["#### 0.51", "#### -0.5", "#### half", "0.5", "#### 0.5 kg"])
def test_near_misses_score_zero(text, make_row, ctx):
    assert judge(Numeric(), text, "0.5", make_row, ctx).reward("n") == 0.0


def test_tolerances_are_inclusive_and_exact(make_row, ctx):
    close = Numeric(absolute=0.1)
    assert [judge(close, f"#### {x}", "1", make_row, ctx).reward("n") for x in ("1.1", "0.9", "1.1000001")] == [1.0, 1.0, 0.0]
    relative = Numeric(relative=0.01)
    assert [judge(relative, f"#### {x}", "-200", make_row, ctx).reward("n") for x in ("-202", "-198", "-202.1")] == [1.0, 1.0, 0.0]


def test_a_reference_that_is_no_number_is_an_error_not_a_zero(make_row, ctx):
    row = judge(Numeric(), "#### 5", "five", make_row, ctx)
    assert (row.reward("n"), row.score.statuses["n"]) == (None, "error")
    assert judge(Numeric(), "#### 5", None, make_row, ctx).score.statuses["n"] == "abstain"


def test_negative_tolerances_are_refused():
    with pytest.raises(UserError, match="tolerances must be 0 or more"):
        Numeric(absolute=-1)
