"""Which runs are found, in which settings they differ, what they measured: from files that a test wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from selfevo.comparing.comparison import compare
from selfevo.comparing.find import find
from selfevo.comparing.measured import evaluations, questions, solved
from selfevo.comparing.settings import differences, flatten, spec_differences
from selfevo.errors import StoreError, UserError
from selfevo.evals.estimators import interval
from selfevo.records import Row
from selfevo.report.read import read_run
from selfevo.sweeps.jobs import Jobs, Outcome
from selfevo.tables import scores_table, write

Write = Callable[..., Path]
ONCE = [(0.5, 0, 0)]


def test_runs_are_found_at_any_depth_once_and_in_natural_order(write_run: Write, tmp_path: Path) -> None:
    for name in ("sweep/10", "sweep/9", "other/deep/er/1"):
        write_run(name, ONCE)
    (tmp_path / "sweep" / "9" / "policies" / "solver").mkdir(parents=True)
    assert [f.label for f in find([tmp_path / "sweep"])] == ["9", "10"]
    assert [f.label for f in find([tmp_path])] == ["other/deep/er/1", "sweep/9", "sweep/10"]
    assert [f.label for f in find([tmp_path / "sweep" / "10", tmp_path / "sweep"])] == ["10", "9"]
    assert [f.label for f in find([tmp_path / "sweep" / "10"])] == ["10"]


def test_a_folder_without_runs_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no run"):
        find([tmp_path / "empty"])
    with pytest.raises(UserError, match="no such folder; did you mean"):
        find([tmp_path / "emty"])


def test_runs_that_did_not_end_are_shown_as_what_they_are(write_run: Write, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    write_run("sweep/0", ONCE)
    write_run("sweep/1", ONCE, end=False)
    write_run("sweep/2", ONCE, end=False)
    write_run("sweep/3", ONCE, end=False, log="       0.1  running demo\n       0.2  failed after 0.2 s\n")
    jobs = Jobs(sweep)
    for number, state, error in ((0, "done", ""), (2, "failed", "its process ended with SIGKILL"), (4, "failed", "a: wrong\nb: wrong"),
                                 (5, "waiting", "")):  # fmt: skip
        jobs.write(Outcome(number, (f"seed={number}",), f"somewhere/else/sweep/{number}", state, 1 if error else 0, error))  # type: ignore[arg-type]
    found = find([sweep])
    assert [(f.label, f.status, f.error) for f in found] == [
        ("0", "done", ""), ("1", "stopped", ""), ("2", "failed", "its process ended with SIGKILL"), ("3", "failed", ""),
        ("4", "failed", "a: wrong (and 1 more)"), ("5", "not started", ""),
    ]  # fmt: skip
    assert [f.overrides for f in found] == [("seed=0",), (), ("seed=2",), (), ("seed=4",), ("seed=5",)]


def test_a_running_run_is_not_disturbed(write_run: Write) -> None:
    from selfevo.store import RunDir

    root = write_run("a", ONCE, end=False)
    store = RunDir(root)
    store._acquire()
    try:
        assert find([root])[0].status == "running"
    finally:
        store.close()


def test_settings_are_those_that_were_given_and_differ(write_run: Write, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for number, (lr, kind) in enumerate(((0.1, "grpo"), (0.2, "grpo"), (0.2, "rloo"))):
        optimizer = {"lr": lr, "advantage": {"kind": kind, "deep": f"{kind}!"}}
        write_run(f"sweep/{number}", ONCE, spec={"optimizer": optimizer, "stages": {"train": {"optimizer": optimizer}}})
        Jobs(sweep).write(Outcome(number, ("scale=tiny", f"++optimizer.lr={lr}", f"optimizer={kind}"), f"sweep/{number}", "done"))
    runs = find([sweep])
    assert differences(runs) == {"optimizer.lr": ["0.1", "0.2", "0.2"], "optimizer": ["grpo", "grpo", "rloo"]}
    assert set(spec_differences(runs)) == {
        f"{path}{key}" for path in ("", "stages.train.") for key in ("optimizer.lr", "optimizer.advantage.kind", "optimizer.advantage.deep")
    }


def test_without_a_command_line_one_key_stands_for_all_that_vary_alike(write_run: Write) -> None:
    specs = [{"scale": {"n": n}, "loop": {"main": {"repeat": n}}, "seed": seed, "list": [n, None]} for n, seed in ((1, 5), (2, 5), (2, 6))]
    roots = [write_run(str(i), ONCE, spec=spec) for i, spec in enumerate(specs)]
    shown = differences(find(roots))
    assert shown == {"seed": ["5", "5", "6"], "list": ["[1, null]", "[2, null]", "[2, null]"], "scale.n": ["1", "2", "2"]}


def test_the_overrides_of_single_runs_come_from_their_commands(write_run: Write) -> None:
    roots = [
        write_run("a", ONCE, spec={"seed": 3}, command=["selfevo", "run", "scale=tiny", "seed=3", "hydra.run.dir=x"]),
        write_run("b", ONCE, spec={"seed": 0}, command=["selfevo", "run", "scale=tiny"]),
    ]
    assert differences(find(roots)) == {"seed": ["3", "0"]}  # what was not given is read from the spec


def test_a_setting_that_no_command_line_explains_is_shown_too(write_run: Write) -> None:
    roots = [
        write_run(f"{i}", ONCE, spec={"seed": i % 2, "default": i // 2}, command=["selfevo", "run", f"seed={i % 2}"]) for i in range(4)
    ]
    assert differences(find(roots)) == {"seed": ["0", "1", "0", "1"], "default": ["0", "0", "1", "1"]}


def test_flattening_names_every_leaf() -> None:
    assert flatten({"a": {"b": 1.0, "c": {}}, "d": [1, "x"], "e": None, "f": True}) == {
        "a.b": "1.0", "a.c": "{}", "d": "[1, x]", "e": "null", "f": "true",
    }  # fmt: skip


def test_solved_samples_are_counted_per_task_as_the_suite_counts_them(write_run: Write, sample: Callable) -> None:
    rows = [sample("a", 0, 1.0), sample("a", 1, 0.4), sample("b", 0, None), sample("b", 1, 0.5), sample("b", 2, 1.0, status="pruned"),
            sample("c", 0, 0.0), sample("c", 1, 0.0)]  # fmt: skip
    way = sample("c", 2, 1.0)  # a hop on the way of its episode is no sample
    rows.append(Row.of(dataclasses.replace(way.trajectory, keys={**way.trajectory.keys, "final": "no"})).rewarded("score", 1.0))
    root = write_run("a", [(0.5, 0, 0)], rows)
    table = root / "tables" / "start" / "evaluate.parquet"
    ids = {q: sample(q, 0, 1.0).trajectory.task.id for q in "abc"}
    assert solved(table, "score", 0.5) == dict(sorted({ids["a"]: (1, 2), ids["b"]: (1, 2), ids["c"]: (0, 2)}.items()))
    assert solved(table, "score", 0.3)[ids["a"]] == (2, 2)
    assert set(solved(table, "another", 0.5).values()) == {(0, 2)}


def test_answers_that_were_judged_where_they_are_count_too(write_run: Write, sample: Callable) -> None:
    rows = [sample(q, k, float(k)) for q in "ab" for k in range(2)]
    root = write_run("a", [(0.5, 0, 0)], rows)
    table, answers = root / "tables/start/evaluate.parquet", root / "tables/walk.0/answer.parquet"
    answers.parent.mkdir()
    table.rename(answers)
    write(table, [scores_table(rows, {r.trajectory.id: "walk.0/answer" for r in rows})])
    ids = {sample(q, 0, 1.0).trajectory.task.id: q for q in "ab"}
    assert solved(table, "score", 0.5, root) == dict.fromkeys(sorted(ids), (1, 2))
    assert questions(table, set(ids), root) == ids
    answers.unlink()
    assert evaluations(read_run(root))["sums"].solved == {}


def test_the_interval_of_a_run_is_over_its_tasks(write_run: Write, sample: Callable) -> None:
    rows = [sample(q, i, float(q in "ab" or (q == "c" and i == 0))) for q in "abcd" for i in range(2)]
    found = evaluations(read_run(write_run("a", [(0.1, 0, 0), (0.625, 9, 1)], rows)))["sums"]
    assert (found.path, found.stage) == ("main.0", "evaluate")
    estimate = found.estimates()["pass@1"]
    assert estimate.value == 0.625
    assert (estimate.low, estimate.high) == interval([0.0, 0.5, 1.0, 1.0], 2000, "compare", "sums", "pass@1")


def test_a_run_whose_table_is_gone_still_shows_what_it_logged(write_run: Write, sample: Callable) -> None:
    roots = [write_run(name, [(0.5, 0, 0)], [sample("a", 0, 1.0)]) for name in "ab"]
    (roots[0] / "tables" / "start" / "evaluate.parquet").unlink()
    comparison = compare(roots)
    assert comparison.evaluations[0]["sums"].estimates()["pass@1"].value == 0.5
    assert comparison.evaluations[0]["sums"].estimates()["pass@1"].low is None
    assert comparison.against[0].by_run == [None, None]
    assert comparison.against[0].why[1] == f"the baseline's table of answers is gone ({roots[0]}/tables/start/evaluate.parquet)"


def test_a_corrupt_table_is_named(write_run: Write, sample: Callable) -> None:
    root = write_run("a", [(0.5, 0, 0)], [sample("a", 0, 1.0)])
    table = root / "tables" / "start" / "evaluate.parquet"
    table.write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match=f"{table}: cannot be read"):
        compare([root])


def test_all_are_compared_with_the_first_or_with_a_baseline(write_run: Write, sample: Callable) -> None:
    a = write_run("a", [(0.5, 0, 0)], [sample("x", 0, 0.0), sample("y", 0, 1.0)])
    b = write_run("b", [(1.0, 0, 0)], [sample("x", 0, 1.0), sample("y", 0, 1.0)])
    c = write_run("c", [(0.0, 0, 0)], [sample("x", 0, 0.0), sample("z", 0, 0.0)])
    two = compare([a, b]).against[0]
    assert two.baseline == 0
    assert [d and (d.tasks, d.mean, d.alone) for d in two.by_run] == [None, (2, 0.5, 0)]
    assert compare([a, b, c]).against[0].by_run[:2] == two.by_run
    all_ = compare([a, c], baseline=b).against[0]
    assert all_.baseline == 2
    assert [d and (d.tasks, d.mean, d.alone) for d in all_.by_run] == [(2, -0.5, 0), (1, -1.0, 2), None]
    with pytest.raises(UserError, match=r"--baseline .*: not a run directory"):
        compare([a, b], baseline=a.parent)


def test_a_run_that_broke_off_sets_no_budget_for_the_others(write_run: Write) -> None:
    roots = [
        write_run("a", [(0.1, 0, 0), (0.2, 100, 10)]),
        write_run("b", [(0.1, 0, 0), (0.4, 200, 10)]),
        write_run("c", [(0.1, 0, 0), (0.3, 10, 1)], end=False),
    ]
    (speed,) = compare(roots).speeds
    assert speed.budgets == {"tokens": 100, "seconds": 10}
    assert [at and at["tokens"].value for at in speed.at] == [0.2, 0.1, None]
