"""A task that names its own prompt: identity, tables, curricula's states, and which template is opened."""

from __future__ import annotations

import json

from selfevo.curricula.saved import restored, saved
from selfevo.records import Lineage, Task
from selfevo.tables.tasks import task_from_json, task_to_json

PLAIN = Task({"question": "1+1"}, "2", "sums", 1.0)
OWN = Task({"question": "1+1"}, "2", "sums", 1.0, prompt="revise")


def test_a_prompt_is_part_of_what_a_task_is_and_none_changes_no_id():
    assert OWN.id != PLAIN.id
    assert PLAIN.id == Task({"question": "1+1"}, "2", "sums", 1.0, prompt="").id == "9d26a4427fdc0c45"  # as before there were prompts


def test_it_survives_tables_and_states():
    for task in (PLAIN, OWN, Task({"a": [1]}, environment="game", lineage=Lineage("improve", "t.0"), prompt="x")):
        assert task_from_json(task_to_json(task)) == task
        assert restored(json.loads(json.dumps(saved(task)))) == task
    assert "prompt" not in task_to_json(PLAIN)
