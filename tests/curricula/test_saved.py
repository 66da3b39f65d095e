"""Tasks in the state of a curriculum come back equal, through JSON."""

from __future__ import annotations

import json

import pytest

from selfevo.curricula.saved import restored, saved
from selfevo.records import Lineage, Task


@pytest.mark.parametrize(
    "task",
    [
        Task({"question": "1+1"}),
        Task({"question": "1+1", "n": [1, 2]}, "2", "sum", 3.0, lineage=Lineage("proposed", "t1.0")),
        Task({}, "", "c", 0.0, "countdown", Lineage("given"), id="seven", prompt="other"),
    ],
)
def test_a_task_comes_back_equal(task):
    assert restored(json.loads(json.dumps(saved(task)))) == task


def test_what_a_task_does_not_have_takes_no_room():
    assert set(saved(Task({"question": "1+1"}))) == {"vars", "answer", "category", "difficulty", "id", "origin"}
