"""FromText: what the groups of its pattern mean, whether they match or not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfevo.records import Lineage, Row, Task, Trajectory, Turn
from selfevo.tasks import FromText

PATTERN = r"(?:\[(?P<category>[^\]]*)\])?(?:<(?P<level>[^>]*)>)?(?P<question>[^|\n]+)(?:\|(?P<hint>[^=]*))?(?:=(?P<answer>.*))?"
OF = Task({"tools": "none"}, category="sums", difficulty=2.0)


def parsed(text: str, **settings: Any) -> Task | None:
    row = Row.of(Trajectory("t0", OF, "solver", "solver@0", (Turn("policy", text),), "e0"))
    parser = FromText(PATTERN, **settings)
    proposal = parser.parse(row)
    return None if proposal is None else parser.task(proposal)


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


def row(text: str, level: float | None = 2.0, tools: Any = "none") -> Row:
    task = Task({"tools": tools}, category="sums", difficulty=level)
    return Row.of(Trajectory(f"t {text}", task, "solver", "solver@0", (Turn("policy", text),), "e0"))


USUAL = r"(?P<question>[^|\n]+)?(?:\|(?P<answer>.*))?"
texts = st.text("ab| \n", max_size=6)


@given(texts, st.sampled_from([None, "own"]))
def test_the_usual_pattern_reads_what_any_pattern_with_the_same_groups_reads(text: str, category: str | None) -> None:
    usual, general = FromText(USUAL, category), FromText(USUAL + "()", category)  # a group without a name says nothing
    found = usual.parse(row(text))
    assert found == general.parse(row(text))
    said = re.search(r"([^|\n]+)?(?:\|(.*))?", text)
    assert said is not None and (found is None) == (said[1] is None)
    if found is not None:
        assert usual.task(found) == Task({"question": said[1].strip()}, said[2] and said[2].strip(), category or "sums", 2.0,
                                         lineage=Lineage("proposed", f"t {text}"))  # fmt: skip


PARSERS = st.sampled_from([(USUAL, []), (PATTERN, []), (USUAL, ["tools"])])
ROWS = st.builds(row, texts, st.sampled_from([1.0, None]), st.sampled_from(["a", ["a"], {"x": 1}]))


@given(PARSERS, ROWS, ROWS)
def test_proposals_are_told_apart_exactly_as_their_tasks_are_by_id(settings: tuple[str, list[str]], first: Row, second: Row) -> None:
    parser = FromText(settings[0], keep=settings[1])
    one, other = parser.parse(first), parser.parse(second)
    if one is not None and other is not None:
        assert (one[0] == other[0]) == (parser.task(one).id == parser.task(other).id)
