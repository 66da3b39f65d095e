"""Judges a program by running it against tests, shut away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from ..sandbox import Result, Sandbox
from .exact import NO_REFERENCE

FENCE = re.compile(r"^```(?:python|py)?[ \t]*\n(.*?)(?:^```|\Z)", re.MULTILINE | re.DOTALL)
Test = tuple[str, str, str | None]
"""Program to run, its standard input, and what it must print (None: it must come to its end)."""


def code_of(text: str) -> str | None:
    """The last fenced block that is Python, or None."""
    found: list[str] = FENCE.findall(text)
    return found[-1] if found else None


class Program:
    """The share of its task's tests that a reply's program passes, or 1.0 for all of them and 0.0 else.

    The task's variable `tests` is a list: a text is Python that is run after the program and must come to its end without an
    exception ("assert add(1, 2) == 3"); a mapping {input, output} is standard input and what must be printed, white space at the
    ends of lines ignored. Each test is a run of its own. A program that fails, takes too long, or too much memory, output or
    processes fails its test; a reply without a program fails all. When the sandbox itself fails the row's status is "error". No tests: the
    part abstains. Verdicts hold each test ("<name>/0": 1 or 0), `info["program"]` how the first failed one ended.

    A program cannot pass by ending early: the tests print a word at their end that it does not know.

    Args:
        sandbox: where and within which limits programs run.
        tests: variable of the task that holds them.
        code: "fence": the last fenced block is the program; "text": the whole reply is.
        reward: "all" or "share".
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(
        self,
        sandbox: Sandbox | None = None,
        tests: str = "tests",
        code: Literal["fence", "text"] = "fence",
        reward: Literal["all", "share"] = "all",
    ):
        self.sandbox = Sandbox() if sandbox is None else sandbox
        self.tests, self.code, self.reward = tests, code, reward

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows, in order, with the reward under `ctx.name`. Equal programs with equal tests are run once."""
        asked = [self._tests(row, ctx) for row in rows]
        every = list(dict.fromkeys(test for tests in asked for test in tests or ()))
        word = f"passed {ctx.seed('program', ctx.name):x}"
        programs = [code if wanted is not None else f"{code}\nprint({word!r})" for code, _, wanted in every]
        done = self.sandbox.run(programs, [given for _, given, _ in every])
        results = {test: (result, _passed(result, test[2], word)) for test, result in zip(every, done, strict=True)}
        return [self._judge(row, tests, results, ctx.name) for row, tests in zip(rows, asked, strict=True)]

    def _tests(self, row: Row, ctx: RunCtx) -> list[Test] | None:
        """Runs to make; none for a reply without a program, None where there is nothing to test against."""
        tests = row.trajectory.task.vars.get(self.tests)
        if not tests:
            return None
        text = row.trajectory.text
        code = code_of(text) if self.code == "fence" else text
        if code is None:
            return []
        return [_test(code, test, ctx.name) for test in ([tests] if isinstance(tests, (str, Mapping)) else tests)]

    def _judge(self, row: Row, tests: list[Test] | None, results: Mapping[Test, tuple[Result, bool]], name: str) -> Row:
        if tests is None:
            return row.failed(name, "abstain", f"{NO_REFERENCE}: the task has no '{self.tests}'")
        if not tests:
            return row.rewarded(name, 0.0, info={"program": "none"})
        found = [results[test] for test in tests]
        lost = next((result for result, _ in found if result.status == "lost"), None)
        if lost is not None:
            return row.failed(name, "error", f"the sandbox failed: {lost.last_line}")
        passed = [ok for _, ok in found]
        value = float(all(passed)) if self.reward == "all" else sum(passed) / len(passed)
        bad = next((result for result, ok in found if not ok), None)
        said = "passed" if bad is None else f"{bad.status} {bad.last_line}".strip()[:200]
        return row.rewarded(name, value, info={"program": said}, verdicts={f"{name}/{i}": float(ok) for i, ok in enumerate(passed)})


def _test(code: str, test: Any, name: str) -> Test:
    if isinstance(test, str):
        return (f"{code}\n{test}", "", None)
    if isinstance(test, Mapping) and {"input", "output"} == set(test):
        return (code, str(test["input"]), str(test["output"]))
    raise UserError(f"verifier.{name}: a test is Python text or {{input, output}}, not {test!r}")


def _passed(result: Result, wanted: str | None, word: str) -> bool:
    if wanted is None:
        return result.status == "ok" and result.stdout.rstrip().rsplit("\n", 1)[-1] == word
    return result.status == "ok" and _lines(result.stdout) == _lines(wanted)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]
