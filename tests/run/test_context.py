"""Seeds, numbers that vary and time are what the docs say."""

import math
import time
from pathlib import Path

import pytest

from selfevo.clock import Clock
from selfevo.context import StageCtx, schedule
from selfevo.errors import UserError
from selfevo.protocols import Varying
from selfevo.records import Row, Task, Trajectory
from selfevo.seeds import derive
from selfevo.where import Where
from selfevo.world import World


@pytest.fixture
def world():
    return World(seed=7, iterations=11, roles={}, prompts={}, root=Path())


def ctx(world, path="main.0", stage="train", iteration=0, **more):
    return StageCtx(world, path, stage, iteration, **more)


def test_a_linear_schedule_passes_through_its_points_and_is_held_after():
    number = Varying("linear", (0.0, 1.0, 0.0), over=11)
    assert [schedule(number, i, 99) for i in (0, 2, 5, 10, 50)] == pytest.approx([0.0, 0.4, 1.0, 0.0, 0.0])


def test_a_cosine_schedule_eases_between_its_points():
    number = Varying("cosine", (1.0, 0.0), over=5)
    assert [schedule(number, i, 99) for i in range(5)] == pytest.approx(
        [1.0, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 - math.cos(math.pi / 4)) / 2, 0.0]
    )


def test_a_schedule_without_over_spans_the_run(world):
    assert ctx(world, iteration=5).value(Varying("linear", (0.0, 1.0))) == 0.5


def test_a_metric_number_reads_the_latest_commit_and_its_default_before_the_first(world):
    number = Varying("metric", metric="probe/t", default=0.3, name="sampling.temperature")
    here = ctx(world)
    assert here.value(number) == 0.3
    world.history["probe/t"] = [0.5, 0.9]
    assert here.value(number) == 0.9
    assert here.metrics == {"vary/sampling.temperature": 0.9}


def test_a_metric_without_value_or_default_is_an_error_with_the_nearest_name(world):
    world.history["probe/temperature"] = [1.0]
    with pytest.raises(UserError, match="did you mean 'probe/temperature'"):
        ctx(world).value(Varying("metric", metric="probe/temprature"))


def test_an_each_number_is_the_item_of_its_block(world):
    assert ctx(world, each={"size": 4}).value(Varying("each", name="size")) == 4.0
    with pytest.raises(UserError, match="no enclosing `each` block is named 'sise'; did you mean 'size'"):
        ctx(world, each={"size": 4}).value(Varying("each", name="sise"))


def test_seeds_differ_by_run_path_stage_component_and_key_and_repeat(world):
    base = ctx(world)
    seeds = [
        base.seed("a"),
        base.seed("b"),
        base.seed("a", 1),
        base.named("x").seed("a"),
        ctx(world, path="main.1").seed("a"),
        ctx(world, stage="score").seed("a"),
    ]
    other = World(8, 11, {}, {}, Path())
    assert len({*seeds, ctx(other).seed("a")}) == 7
    assert ctx(world).seed("a") == seeds[0] and 0 <= seeds[0] < 2**63


def test_key_parts_are_joined_unambiguously():
    assert derive("a", "b") != derive("ab") and derive("a", "") != derive("a") and derive(1, 23) != derive(12, 3)


def test_a_value_that_is_not_finite_stays_out_of_the_metrics(world):
    here = ctx(world)
    here.log("good", 1)
    here.log("bad", math.nan)
    assert here.metrics == {"good": 1.0}


def test_reading_an_undeclared_table_is_refused(world):
    with pytest.raises(UserError, match="without declaring it under `using`; did you mean 'marks'"):
        ctx(world, using=("marks",)).rows("mark")


def test_nested_spans_count_time_once_for_the_inner_kind():
    clock = Clock()
    with clock.span("generate"):
        time.sleep(0.02)
        with clock.span("score"):
            time.sleep(0.03)
    seconds = clock.read()
    assert seconds["score"] >= 0.03 and seconds["generate"] >= 0.02
    assert seconds["generate"] + seconds["score"] < 0.03 + seconds["score"] + 0.02 + seconds["generate"]
    after = clock.read()
    assert after == seconds  # nothing is counted outside a span


ROW = Row.of(
    Trajectory("t", Task({}, category="sum", difficulty=2.0), "solver", "p@0", (), "e", {"seat": "0"}, status="truncated")
).rewarded("exact", 0.5)


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        ({}, True),
        ({"exact": 0.5}, True),
        ({"exact": 0}, False),
        ({"exact": {"at_least": 0.5, "below": 0.6}}, True),
        ({"exact": {"above": 0.5}}, False),
        ({"status": "truncated"}, True),
        ({"status": {"in": ["finished", "error"]}}, False),
        ({"category": {"not": "sum"}}, False),
        ({"level": 2}, True),
        ({"seat": "0"}, True),
        ({"nothing": 0}, False),
        ({"nothing": {"not": 1}}, False),
        ({"keep": True, "feedback": False}, True),
    ],
)
def test_where_selects_rows_by_reward_key_or_status(where, matches):
    assert Where.parse(where)(ROW) is matches
