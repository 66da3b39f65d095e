"""Records survive a table unchanged, whatever they hold."""

import math

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo.records import Cost, Lineage, Row, Sample, Score, Step, Task, Trajectory, Turn
from selfevo.tables import (
    batches,
    rows_from,
    rows_table,
    samples_from,
    samples_table,
    scan,
    scored_from,
    scores_table,
    task_from_json,
    task_to_json,
    write,
)

words = st.text(max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
ids = st.lists(st.integers(0, 2**31 - 1), max_size=6).map(tuple)
pairs = st.dictionaries(words, words, max_size=3)
rewards = st.dictionaries(words, numbers, max_size=3)


@st.composite
def turns(draw):
    tokens = draw(ids)
    logprobs = draw(st.none() | st.lists(numbers, min_size=len(tokens), max_size=len(tokens)).map(tuple))
    source = draw(st.sampled_from(["policy", "tool", "env", "teacher", "judge", "data"]))
    return Turn(
        source,
        draw(words),
        tokens,
        logprobs,
        draw(ids),
        draw(st.none() | words),
        draw(numbers),
        draw(st.sampled_from(["stop", "length", ""])),
    )


tasks = st.builds(
    Task,
    vars=st.dictionaries(words, words | st.integers(-5, 5) | st.lists(st.integers(), max_size=3), max_size=3),
    answer=st.none() | words,
    category=words,
    difficulty=st.none() | numbers,
    environment=st.none() | words,
    lineage=st.builds(Lineage, words, st.none() | words),
    turns=st.lists(turns(), max_size=2).map(tuple),
)
scores = st.builds(
    Score,
    subject=words,
    kind=st.sampled_from(["trajectory", "task", "version"]),
    step=st.none() | st.integers(0, 9),
    rewards=rewards,
    feedback=st.none() | words,
    verdicts=rewards,
    statuses=st.dictionaries(words, st.sampled_from(["ok", "error", "timeout", "abstain"]), max_size=2),
    errors=pairs,
    info=pairs,
    keep=st.booleans(),
)
steps = st.lists(st.builds(Step, st.integers(0, 9), st.integers(0, 9)), max_size=3).map(tuple)
trajectories = st.builds(
    Trajectory,
    id=words,
    task=tasks,
    role=words,
    policy=words,
    turns=st.lists(turns(), max_size=3).map(tuple),
    episode=words,
    keys=pairs,
    memories=pairs,
    parent=st.none() | words,
    prefix=st.integers(0, 9),
    steps=steps,
    status=st.sampled_from(["finished", "truncated", "failed", "pruned", "error"]),
    error=st.none() | words,
    cost=st.builds(Cost, *[st.integers(0, 99)] * 4, numbers),
)
rows = st.builds(Row, trajectories, scores, st.lists(scores, max_size=2).map(tuple))


@given(tasks)
@settings(max_examples=25, deadline=None)
def test_a_task_survives_json(task):
    assert task_from_json(task_to_json(task)) == task


@given(st.lists(rows, max_size=3))
@settings(max_examples=20, deadline=None)
def test_judged_rows_survive_a_table(some):
    assert rows_from(rows_table(some, judged=True)) == some


@given(st.lists(rows, max_size=3), st.sampled_from([1, 2, 9]))
@settings(max_examples=10, deadline=None)
def test_rows_survive_a_file_wherever_their_batches_end(tmp_path_factory, some, size):
    file = tmp_path_factory.mktemp("table") / "rows.parquet"
    write(file, (rows_table(part, judged=True) for part in batches(some, rows=size)))
    assert [row for batch in scan(file) for row in rows_from(batch)] == some == rows_from(pq.read_table(file))


@given(st.lists(rows, min_size=2, max_size=3), st.data())
@settings(max_examples=10, deadline=None)
def test_a_slice_of_a_table_holds_its_rows(some, data):
    start = data.draw(st.integers(0, len(some)))
    length = data.draw(st.integers(0, len(some) - start))
    assert rows_from(rows_table(some, judged=True).slice(start, length)) == some[start : start + length]


@given(st.lists(trajectories, max_size=3, unique_by=lambda t: t.id))
@settings(max_examples=15, deadline=None)
def test_a_score_table_joined_with_its_trajectories_gives_the_rows_back(some):
    judged = [Row.of(t).rewarded("exact", 0.1 + 0.2, feedback="no") for t in some]
    table = scores_table(judged, {t.id: "main.0/rollout" for t in some})
    assert "turns" not in table.column_names  # text is stored once, with the rollout
    assert scored_from(table, {t.id: t for t in some}) == judged


def test_rows_survive_a_parquet_file_bit_for_bit(tmp_path):
    turn = Turn("policy", "1+1=2", (5, 6), (-0.1, math.log(1 / 3)), (1, 2), "solver@000001", 0.7, "stop")
    task = Task({"question": "1+1"}, "2", "sum", 1.0)
    row = Row.of(Trajectory("main.0/rollout/00000-00000.0", task, "solver", "solver@000001", (turn,), "e")).rewarded("score", 1 / 3)
    pq.write_table(rows_table([row], judged=True), tmp_path / "rows.parquet", compression="zstd")
    assert rows_from(pq.read_table(tmp_path / "rows.parquet")) == [row]


def test_samples_survive_with_numbers_and_arrays_kept_apart():
    sample = Sample(
        "s", (7, 8), {"train": (1,), "teacher": (1, 2)}, {"advantage": 0.5, "mask": (1.0, 0.0)}, {"task": "t"}, (Step(0, 2),), "u", 1, 4
    )
    assert samples_from(samples_table([sample])) == [sample]


def test_equal_content_has_an_equal_task_id_and_different_answers_do_not():
    a, b, c = Task({"question": "1+1"}, "2"), Task({"question": "1+1"}, "2", lineage=Lineage("other")), Task({"question": "1+1"}, "3")
    assert a.id == b.id != c.id


def test_a_changed_train_context_drops_the_samplers_log_probs():
    sample = Sample("s", (7,), {"train": (1,)}, {"logp:sampler": (-1.0,), "mask": (1.0,)})
    assert "logp:sampler" in sample.with_context("train", (1,)).columns
    assert "logp:sampler" in sample.with_context("teacher", (9, 9)).columns
    assert sample.with_context("train", (2,)).columns == {"mask": (1.0,)}


@pytest.mark.parametrize("columns", [{"mask": (1.0, 1.0)}, {"advantages": ()}])
def test_a_column_that_does_not_match_the_response_is_refused(columns):
    with pytest.raises(ValueError, match="values for 1 tokens"):
        Sample("s", (7,), {"train": (1,)}, columns)


def test_a_failed_part_leaves_no_reward_to_read_as_zero():
    row = Row.of(Trajectory("t", Task({}), "solver", "p@0", (), "e")).failed("math", "timeout", "2 s")
    assert row.reward("math") is None
    assert row.score.statuses == {"math": "timeout"} and row.score.errors == {"math": "2 s"}


def test_spans_default_to_policy_turns_in_token_positions():
    turns = (Turn("policy", "ab", (1, 2)), Turn("env", "c", (3,)), Turn("policy", "d", (4,)))
    assert Trajectory("t", Task({}), "r", "p@0", turns, "e").spans() == (Step(0, 2), Step(3, 4))
