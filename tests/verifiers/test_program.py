"""The part that runs programs against tests."""

from __future__ import annotations

import pytest

from selfevo.errors import UserError
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.sandbox import Result, Sandbox
from selfevo.verifiers import Program


class Ctx:
    name = "program"

    def seed(self, *key: object) -> int:
        return 12345


def judged(text: str, tests: object, **settings: object) -> Row:
    task = Task({"question": "q", "tests": tests})
    row = Row.of(Trajectory("t", task, "solver", "solver@0", (Turn("policy", text),), "e"))
    return Program(Sandbox(seconds=2, workers=1), **settings)([row], Ctx())[0]  # type: ignore[arg-type]


def fenced(code: str) -> str:
    return f"Here it is.\n```python\n{code}\n```\nDone."


ADD = fenced("def add(a, b):\n    return a + b")
TESTS = ["assert add(1, 2) == 3", "assert add(0, 0) == 0", "assert add(2, 2) == 5"]


def test_all_or_a_share() -> None:
    assert judged(ADD, TESTS[:2]).reward("program") == 1.0
    row = judged(ADD, TESTS)
    assert row.reward("program") == 0.0 and row.score.verdicts == {"program/0": 1.0, "program/1": 1.0, "program/2": 0.0}
    assert row.score.info["program"] == "error AssertionError"
    assert judged(ADD, TESTS, reward="share").reward("program") == pytest.approx(2 / 3)


def test_printed_output() -> None:
    tests = [{"input": "3\n", "output": "6"}, {"input": "4", "output": "8\n"}]
    assert judged(fenced("print(2 * int(input()), end=' ')"), tests).reward("program") == 1.0
    assert judged(fenced("print(6)"), tests, reward="share").reward("program") == 0.5


def test_a_program_that_ends_early_has_not_passed() -> None:
    for end in ("import os; os._exit(0)", "import sys; sys.exit()", "print('passed'); exit(0)" if False else "raise SystemExit"):
        assert judged(fenced(end), ["assert False"]).reward("program") == 0.0


@pytest.mark.parametrize("code, why", [("while True: pass", "timeout"), ("x = [0] * 10**10", "memory"), ("1/0", "error")])
def test_harm_fails_the_test_and_is_said(code: str, why: str) -> None:
    row = judged(fenced(code), ["pass"])
    assert row.reward("program") == 0.0 and row.score.info["program"].startswith(why)


def test_no_program_is_a_zero_and_no_tests_an_abstention() -> None:
    assert judged("I do not know", TESTS).reward("program") == 0.0
    assert judged(ADD, None).score.statuses["program"] == "abstain"
    assert judged("print(1)", [{"input": "", "output": "1"}], code="text").reward("program") == 1.0


def test_a_failure_of_the_sandbox_is_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Result("lost", -1, "", "its worker died", 0.0, 0.0)
    monkeypatch.setattr(Sandbox, "run", lambda self, programs, stdin: [lost] * len(programs))
    row = judged(ADD, TESTS)
    assert row.reward("program") is None and row.score.statuses["program"] == "error"


def test_a_test_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="Python text or"):
        judged(ADD, [{"in": 1}])
