"""What the tools say."""

from __future__ import annotations

import pytest

from selfevo.errors import UserError
from selfevo.sandbox import Sandbox
from selfevo.tools import Answer, Calculator, Python


@pytest.mark.parametrize("call, value", [("27+5", "32"), (" 2*(3-5) ", "-4"), ("1/2+1/3", "5/6"), ("0.1+0.2", "3/10"), ("-3", "-3")])
def test_the_calculator_is_exact(call: str, value: str) -> None:
    assert Calculator()(call, 0) == Answer(value)


@pytest.mark.parametrize("call", [
    "", "1/0", "9**9**9", "x+1", "__import__('os')", "1+", "9" * 300, "(" * 150 + "1" + ")" * 150, "9" * 20, "1 2",
])  # fmt: skip
def test_the_calculator_answers_nothing_else(call: str) -> None:
    assert Calculator(wrong="no")(call, 0) == Answer("no", "error")


def test_python_says_what_was_printed_and_what_went_wrong() -> None:
    python = Python(Sandbox(workers=1, seconds=1.0), longest=100)
    assert python("print(1)\nprint(2)", 0) == Answer("1\n2")
    assert python("print(1)\n1/0", 0) == Answer("1\nZeroDivisionError: division by zero", "error")
    assert python("exit(3)", 0) == Answer("[ended with status 3]", "error")
    assert python("x = 1", 0) == Answer("")


def test_a_tool_that_prints_a_gigabyte_or_never_ends_is_cut_short() -> None:
    python = Python(Sandbox(workers=1, seconds=1.0), longest=100)
    flood = python("while True: print('x' * 10**6)", 0)
    assert flood.status == "output" and len(flood.text) <= 100 and flood.text.endswith("[output]")
    assert python("while True: pass", 0) == Answer("[timeout]", "timeout")


def test_a_length_that_cannot_hold_both_ends_is_refused() -> None:
    with pytest.raises(UserError, match="at least 40"):
        Python(longest=10)
