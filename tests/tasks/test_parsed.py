"""FromText: what the groups of its pattern mean, whether they match or not."""

from __future__ import annotations

from typing import Any

import pytest

from selfevo.records import Lineage, Row, Task, Trajectory, Turn
from selfevo.tasks import FromText

PATTERN = r"(?:\[(?P<category>[^\]]*)\])?(?:<(?P<level>[^>]*)>)?(?P<question>[^|\n]+)(?:\|(?P<hint>[^=]*))?(?:=(?P<answer>.*))?"
OF = Task({"tools": "none"}, category="sums", difficulty=2.0)


def parsed(text: str, **settings: Any) -> Task | None:
    row = Row.of(Trajectory("t0", OF, "solver", "solver@0", (Turn("policy", text),), "e0"))
    return FromText(PATTERN, **settings).parse(row)


@pytest.mark.parametrize("text, settings, expected", [
    ("[ new ]< 3.5 > 2+2 | add =  4 ", {}, ({"question": "2+2", "hint": "add"}, "4", "new", 3.5)),
    ("2+2|add", {}, ({"question": "2+2", "hint": "add"}, None, "sums", 2.0)),
    ("2+2", {}, ({"question": "2+2"}, None, "sums", 2.0)),
    ("2+2|=", {"category": "own"}, ({"question": "2+2", "hint": ""}, "", "own", 2.0)),
    ("[ ]<-1>2+2", {"category": "own"}, ({"question": "2+2"}, None, "own", -1.0)),
    ("2+2", {"keep": ["tools"]}, ({"tools": "none", "question": "2+2"}, None, "sums", 2.0)),
])  # fmt: skip
def test_groups_are_variables_or_have_their_meaning(text: str, settings: dict[str, Any], expected: tuple[Any, ...]) -> None:
    task = parsed(text, **settings)
    assert task is not None
    assert (task.vars, task.answer, task.category, task.difficulty) == expected
    assert task.lineage == Lineage("proposed", "t0")
    assert task.id == Task(*expected[:3]).id


@pytest.mark.parametrize("text", ["<high>2+2", "<1e3>2+2", "<>2+2", "|"])
def test_a_level_that_is_no_number_or_no_match_is_no_task(text: str) -> None:
    assert parsed(text) is None
