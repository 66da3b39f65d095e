"""Arms: runs that differ by their seed alone, held against the baseline's runs of the same seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from selfevo.comparing import show
from selfevo.comparing.arms import is_seed
from selfevo.comparing.comparison import compare
from selfevo.comparing.student import over_seeds
from selfevo.comparing.tables import letters, tables
from selfevo.sweeps.jobs import Jobs, Outcome

Write = Callable[..., Path]
ONCE = [(0.5, 0, 0)]


def seeded(write_run: Write, sample: Callable, where: str = "") -> list[Path]:
    """Two arms of two seeds whose held-out tasks depend on the seed: `new` solves c1 and c2 where `old` does not."""
    out = []
    for arm, right in (("old", "a"), ("new", "abc")):
        for seed in (0, 1):
            rows = [sample(f"{q}{seed}", 0, float(q in right)) for q in "abcd"]
            spec = {"seed": seed, "eval": {"seed": seed}, "optimizer": {"lr": 0.1 if arm == "old" else 0.2}}
            evals = [(0.1, 0, 0), (0.3 + 0.2 * seed, 100, 10), (0.25 if arm == "old" else 0.75, 100, 10)]
            out.append(write_run(f"{where}{arm}-{seed}", evals, rows, spec))
    return out


def test_runs_that_differ_by_seeds_alone_are_an_arm(write_run: Write, sample: Callable) -> None:
    c = compare(seeded(write_run, sample))
    assert [(arm.label, arm.runs, dict(arm.settings)) for arm in c.arms] == [
        ("old", (0, 1), {"optimizer.lr": "0.1"}), ("new", (2, 3), {"optimizer.lr": "0.2"}),
    ]  # fmt: skip
    assert c.seeded and c.seeds == ["0", "1", "0", "1"] and c.arm_of(3) == 1
    assert [is_seed(key) for key in ("seed", "eval.seed", "split_seed", "seeds", "seed.kind")] == [True, True, True, False, False]


def test_each_run_is_held_against_the_baseline_of_its_seed(write_run: Write, sample: Callable) -> None:
    (against,) = compare(seeded(write_run, sample)).against
    assert against.partner == [None, None, 0, 1] and against.why == [""] * 4
    assert [d and (d.tasks, d.mean, d.better, d.worse) for d in against.by_run] == [None, None, (4, 0.5, 2, 0), (4, 0.5, 2, 0)]
    whole = against.by_arm[1]
    assert against.by_arm[0] is None and whole is not None
    assert (whole.tasks, whole.mean, whole.better, whole.worse, whole.alone) == (8, 0.5, 4, 0, 0)
    assert whole.p == 2 / 2**4  # four tasks differ, all to one side


def test_the_samples_of_all_seeds_count_for_a_task_that_they_share(write_run: Write, sample: Callable) -> None:
    def run(name: str, seed: int, right: float) -> Path:
        return write_run(name, ONCE, [sample("x", 0, right), sample("y", 0, 0.0)], {"seed": seed, "lr": name[0]})

    c = compare([run("a0", 0, 0.0), run("a1", 1, 1.0), run("b0", 0, 1.0), run("b1", 1, 1.0)])
    d = c.against[0].by_arm[1]
    assert d is not None and (d.tasks, d.mean) == (2, 0.25)  # x: 2/2 against 1/2; y: nothing


def test_the_baseline_is_the_arm_of_the_run_that_is_named(write_run: Write, sample: Callable) -> None:
    roots = seeded(write_run, sample)
    (against,) = compare(roots, baseline=roots[3]).against
    assert against.baseline == 1 and against.partner == [2, 3, None, None]
    assert [d and d.mean for d in against.by_run] == [-0.5, -0.5, None, None]


def test_arms_of_a_sweep_are_named_by_what_was_swept(write_run: Write, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "sweep")
    for i, (lr, seed) in enumerate(((0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1))):
        given = (f"optimizer.lr={lr}", f"seed={seed}")
        if i == 3:
            jobs.write(Outcome(i, given, f"sweep/{i}", "failed", 1, "no memory"))
            continue
        write_run(f"sweep/{i}", ONCE, spec={"optimizer": {"lr": lr}, "seed": seed})
        jobs.write(Outcome(i, given, f"sweep/{i}", "done"))
    c = compare([tmp_path / "sweep"])
    assert [(arm.label, arm.runs) for arm in c.arms] == [("lr=0.1", (0, 1)), ("lr=0.2", (2, 3))]  # the failed job is counted, not dropped
    results = next(t for t in tables(c) if "mean of each arm" in t.title)
    assert [row[:2] for row in results.rows] == [("lr=0.1", "2 of 2"), ("lr=0.2", "1 of 2")]


def test_a_run_that_repeats_another_is_held_against_it(write_run: Write, sample: Callable) -> None:
    roots = [write_run(name, ONCE, [sample("x", 0, right)], {"seed": 3}) for name, right in (("a", 0.0), ("b", 1.0))]
    c = compare(roots)
    assert [arm.runs for arm in c.arms] == [(0,), (1,)] and not c.seeded
    assert c.against[0].by_run[1] is not None and c.against[0].by_run[1].mean == 1.0


@pytest.mark.parametrize("change, why", [
    ({"suite": "others"}, "it was not measured on sums"),
    ({"questions": "zw"}, r"it has no held-out task in common with the baseline \(2 and 2 tasks\)"),
    ({"threshold": 0.9}, r"its answers are judged otherwise \(score of at least 0.9; the baseline's score of at least 0.5\)"),
])
def test_what_cannot_be_compared_is_said(write_run: Write, sample: Callable, change: dict, why: str) -> None:
    import re

    first = write_run("a", ONCE, [sample(q, 0, 1.0) for q in "xy"])
    suite = {"correct": "score", "threshold": change.get("threshold", 0.5)}
    second = write_run("b", ONCE, [sample(q, 0, 1.0) for q in change.get("questions", "xy")], {"stages": {"evaluate": {"suite": suite}}})
    if "suite" in change:
        for file in (second / "metrics.jsonl",):
            file.write_text(file.read_text().replace("eval/sums/", f"eval/{change['suite']}/"))
    c = compare([first, second])
    against = next(a for a in c.against if a.suite == "sums")
    assert against.by_run[1] is None and re.fullmatch(why, against.why[1])
    text = show.terminal(c, 300)
    assert re.search(f"not compared: run b, for {why}", text)
    assert json.loads(show.as_json(c))["paired"][0]["not_compared"] == {"b": against.why[1]}


def test_a_mean_over_seeds_has_students_interval() -> None:
    over = over_seeds([0.1, 0.2, 0.3])
    assert over is not None and over.mean == pytest.approx(0.2) and over.low == pytest.approx(0.2 - 4.303 * 0.1 / math.sqrt(3))
    one = over_seeds([0.4])
    assert one is not None and (one.mean, one.low, one.high) == (0.4, None, None) and over_seeds([]) is None


def test_costs_to_reach_a_level_are_medians_that_count_who_never_got_there(write_run: Write, sample: Callable) -> None:
    c = compare(seeded(write_run, sample))
    tokens = next(t for t in tables(c) if t.title == "Generated tokens to reach a pass@1 of sums")
    assert tokens.columns == ("arm", "0.25", "0.5", "0.75", "0.250 (end of old)")
    assert [row[1:] for row in tokens.rows] == [("100", "100 (1 of 2)", "–", "100"), ("100", "100", "200", "100")]


def test_every_table_of_arms_has_its_columns_in_every_export(write_run: Write, sample: Callable) -> None:
    c = compare(seeded(write_run, sample))
    for table in tables(c):
        assert {len(row) for row in table.rows} == {len(table.columns)} == {len(table.left)}
    whole = json.loads(show.as_json(c))
    assert [arm["runs"] for arm in whole["arms"]] == [["old-0", "old-1"], ["new-0", "new-1"]]
    assert whole["paired"][0]["arms"]["new"]["mean"] == 0.5 and whole["speed"][0]["curves"]["new-1"][-1]["value"] == 0.75
    assert show.as_csv(c).splitlines()[1].split(",")[4] == "old"
    assert [letters(i) for i in (0, 25, 26, 52)] == ["A", "Z", "AA", "BA"]
