"""What is shown is what is committed, whatever is being written, cut short, deleted or linked to meanwhile."""

import fcntl
import json
import os
import shutil

import pytest

from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.report.series import Metrics
from selfevo.watch import progress, trajectories
from selfevo.watch.curves import Costs
from selfevo.watch.desk import Missing
from selfevo.watch.state import last_word


def row(path, n, text="4", **changes):
    turn = Turn("policy", text, tuple(range(len(text))), context=(1, 2))
    one = Trajectory(f"{path}/{n:05d}.0", Task({"question": f"2+{n}"}, answer="4"), "solver", "solver@000000", (turn,), f"e{n}", **changes)
    return Row.of(one).rewarded("score", n / 10)


def test_a_line_counts_once_it_is_whole_and_vouched_for(tmp_path, write, watching):
    run = write(tmp_path / "a")
    desk = watching(tmp_path)
    run.evaluate("start", 0.25)
    assert desk.only()["value"] == 0.25
    run.append("metrics.jsonl", {"path": "main.0", "stage": "rollout", "kind": "rollout", "iteration": 0, "seconds": 1.0, "metrics": {}})
    assert desk.only()["seconds"] == 1.0, "a metrics line without its manifest line is no commit"
    entry = {"path": "main.0", "stage": "rollout", "kind": "rollout", "table": ""}
    run.append("manifest.jsonl", entry, half=True)
    assert desk.only()["seconds"] == 1.0 and desk.only()["trouble"] == ""
    text = json.dumps(entry) + "\n"
    with (run.root / "manifest.jsonl").open("a") as file:
        file.write(text[len(text) // 2 :])
    assert desk.only()["seconds"] == 2.0


def test_only_what_changed_is_told_and_what_is_gone_is_named(tmp_path, write, watching):
    a, b = write(tmp_path / "a"), write(tmp_path / "deep/er/b")
    desk = watching(tmp_path)
    first = desk.overview()
    assert {r["label"] for r in first["rows"]} == {"a", "deep/er/b"} and first["whole"]
    since = {"boot": [desk.boot], "since": [str(first["revision"])]}
    assert desk.overview(since)["rows"] == []
    b.evaluate("start", 0.5)
    write(tmp_path / "c")
    assert {r["label"] for r in desk.overview(since)["rows"]} == {"deep/er/b", "c"}
    gone = next(r["id"] for r in first["rows"] if r["label"] == "a")
    shutil.rmtree(a.root)
    assert desk.overview(since)["gone"] == [gone]
    with pytest.raises(Missing):
        desk.panel(gone)
    write(tmp_path / "a")
    assert gone in {r["id"] for r in desk.overview(since)["rows"]}, "the same folder has the same id"


def test_a_run_that_is_cut_short_or_replaced_is_read_anew(tmp_path, write, watching):
    run = write(tmp_path / "a")
    desk = watching(tmp_path)
    for n in range(3):
        run.iteration(n, 0.1 * n)
    assert desk.only()["iteration"] == 3
    lines = (run.root / "manifest.jsonl").read_text().splitlines(keepends=True)
    (run.root / "manifest.jsonl").write_text("".join(lines[:4]))
    assert desk.only()["iteration"] == 1
    shutil.rmtree(run.root)
    again = write(tmp_path / "a")
    again.evaluate("start", 0.75)
    assert (desk.only()["iteration"], desk.only()["value"]) == (0, 0.75)


def test_a_broken_line_is_named_and_what_stands_before_it_is_shown(tmp_path, write, watching):
    run = write(tmp_path / "a")
    run.evaluate("start", 0.25)
    with (run.root / "manifest.jsonl").open("a") as file:
        file.write("{broken\n")
    run.evaluate("main.0", 0.5)
    shown = watching(tmp_path).only()
    assert shown["value"] == 0.25 and shown["trouble"].startswith("manifest.jsonl:3: corrupt line")


SPECS = [
    "a: 2020-13-45\n", "[" * 5000, "!!python/object:os.system x\n", "\x00", "loop: {a: {until: {metric: x}, do: [b]}}\n",
    "loop: {a: {repeat: 2, until: 3, each: 4, fork: [x], do: {b: {b: null}}}}\nstages: {b: 7}\n",
]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_a_spec_of_any_kind_costs_no_more_than_itself(tmp_path, write, watching, spec):
    run = write(tmp_path / "a", spec=spec)
    run.iteration(0, 0.25)
    run.append("metrics.jsonl", {"path": "x", "stage": "y"})
    desk = watching(tmp_path)
    assert desk.only()["value"] == 0.25
    assert desk.panel(desk.id())["gains"]


def test_a_line_nested_without_end_is_a_broken_line(tmp_path, write, watching):
    run = write(tmp_path / "a")
    run.evaluate("start", 0.25)
    with (run.root / "manifest.jsonl").open("a") as file:
        file.write("[" * 100_000 + "\n")
    assert watching(tmp_path).only()["trouble"].startswith("manifest.jsonl:3: corrupt line")


@pytest.mark.parametrize("change", [{"metrics": None}, {"seconds": "1"}, {"metrics": {"a": "b"}}, {"iteration": None}])
def test_lines_of_something_else_do_not_break_the_page(tmp_path, write, watching, change):
    run = write(tmp_path / "a", spec="[not, a, spec]\n")
    line = {"path": "start", "stage": "x", "kind": "rollout", "iteration": 0, "seconds": 1.0, "metrics": {}} | change
    run.append("metrics.jsonl", line)
    run.append("manifest.jsonl", {"path": "start", "stage": "x"})
    run.evaluate("start", 0.25)
    desk = watching(tmp_path)
    assert desk.only()["value"] == 0.25 and "start/x" in desk.only()["trouble"]
    assert desk.panel(desk.id())["name"] == "a"


def test_the_state_is_what_files_and_locks_tell(tmp_path, write, watching):
    run = write(tmp_path / "a")
    desk = watching(tmp_path)
    assert desk.only()["state"] == "stale"
    with (run.root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert desk.only()["state"] == "running" and desk.only()["stage"] == "starting"
        run.iteration(0, 0.5)
        assert desk.only()["stage"] == "rollout", "the next iteration has begun"
    assert desk.only()["state"] == "stale", "killed: nobody holds the lock, and no last word"
    run.log("running demo, seed 7", "stopped after 3.0 s")
    assert desk.only()["state"] == "stopped"
    run.log("resuming demo, seed 7", "failed after 3.0 s")
    assert desk.only()["state"] == "failed"
    run.log("resuming demo, seed 7")
    run.iteration(1, 0.5)
    shown = desk.only()
    assert shown["state"] == "running" and "not from a process on this machine" in shown["why"]
    run.end()
    assert desk.only()["state"] == "done" and desk.only()["seconds"] == 9.5


def test_the_last_word_is_that_of_the_last_process():
    log = "       0.0  running demo\n       3.0  stopped after 3.0 s\n       0.0  resuming demo\n"
    assert last_word(log[: log.index("resuming")]) == "stopped"
    assert last_word(log) == ""
    assert last_word("       1.0  main.0/rollout  done after 3\n") == ""


def test_nothing_outside_of_the_folders_is_read(tmp_path, write, watching):
    outside = write(tmp_path / "outside/secret")
    outside.put("main.0", "rollout", [row("main.0/rollout", 1, "secret words")])
    outside.log("secret words")
    watched = tmp_path / "watched"
    run = write(watched / "a")
    os.symlink(outside.root, watched / "linked")
    os.symlink(outside.root / "log.txt", run.root / "log.txt")
    (run.root / "spec.yaml").unlink()
    os.symlink(outside.root / "spec.yaml", run.root / "spec.yaml")
    run.commit("../../../outside/secret/tables/main.0", "rollout", "rollout", table="rows")
    (run.root / "tables").mkdir()
    os.symlink(outside.root / "tables/main.0", run.root / "tables/main.1")
    run.commit("main.1", "rollout", "rollout", table="rows")
    desk = watching(watched)
    assert desk.only()["label"] == "a" and desk.only()["name"] == "a"
    name = desk.id()
    assert desk.panel(name)["log"] == "" and desk.spec(name)["text"] == ""
    found = desk.trajectories(name, {})
    assert found["total"] == 0 and [why for _, why in found["missing"]] == ["the file lies elsewhere"] * 2
    assert desk.search(name, {"text": ["secret"]})["found"] == {}


def state_of(root):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) if p.is_file() else p.stat().st_mtime_ns for p in [root, *root.rglob("*")]}


def test_watching_changes_nothing(tmp_path, write, watching):
    run = write(tmp_path / "a")
    run.put("main.0", "rollout", [row("main.0/rollout", n) for n in range(5)])
    run.commit("main.0", "rollout", "rollout", {"rollout/reward": 0.5}, table="rows")
    run.log("running demo")
    (run.root / ".lock").touch()
    before = state_of(tmp_path)
    desk = watching(tmp_path)
    name = desk.id()
    desk.panel(name), desk.spec(name), desk.curves({"run": [name]}), desk.trajectories(name, {})
    desk.trajectory(name, {"part": ["0"], "row": ["1"]}), desk.words(name, {"part": ["0"], "start": ["0"]})
    desk.find(name, {"id": ["main.0/rollout/00002.0"]}), desk.search(name, {"text": ["4"]})
    assert state_of(tmp_path) == before


def test_a_run_that_rests_is_read_again_when_it_is_looked_at_or_grows(tmp_path, write, watching):
    run = write(tmp_path / "a")
    run.iteration(0, 0.25)
    desk = watching(tmp_path)
    row = desk.only()
    watched = desk.runs.get(row["id"])
    assert watched.lines == [], "nobody looks at it: only its row is kept"
    assert desk.panel(row["id"])["steps"] and len(watched.data.lines) == 3
    watched.rest()
    run.iteration(1, 0.5)
    assert desk.only()["iteration"] == 2 and desk.only()["value"] == 0.5


def test_progress_counts_the_iterations_of_all_blocks_and_knows_what_comes_next(tmp_path, write, watching):
    spec = """stages: {a: {kind: rollout}, b: {kind: train}, c: {kind: train}}
loop: {warm: {repeat: 2, do: [a]}, main: {repeat: 3, do: {a: null, inner: {repeat: 2, do: [b]}, c: null}}}
"""
    run = write(tmp_path / "a", spec=spec.replace("[a]", "[a2]").replace("{a: {kind", "{a2: {kind: rollout}, a: {kind"))
    desk = watching(tmp_path)
    assert (desk.only()["iteration"], desk.only()["total"]) == (0, 5)
    run.commit("warm.0", "a2", "rollout")
    run.commit("warm.1", "a2", "rollout", iteration=1)
    assert desk.only()["iteration"] == 2
    run.commit("main.0", "a", "rollout")
    run.commit("main.0/inner.0", "b", "train")
    assert desk.only()["iteration"] == 2
    run.commit("main.0/inner.1", "b", "train")
    run.commit("main.0", "c", "train")
    assert desk.only()["iteration"] == 3


def test_a_block_that_ends_with_a_block_is_whole_with_the_last_iteration_of_that(tmp_path, write, watching):
    spec = "stages: {a: {kind: rollout}, b: {kind: train}}\nloop: {main: {repeat: 3, do: {a: null, inner: {repeat: 2, do: [b]}}}}\n"
    run = write(tmp_path / "a", spec=spec)
    desk = watching(tmp_path)
    for path, stage, whole in (("main.0", "a", 0), ("main.0/inner.0", "b", 0), ("main.0/inner.1", "b", 1), ("main.1", "a", 1)):
        run.commit(path, stage, "train", iteration=int(path[5]))
        assert desk.only()["iteration"] == whole, path
    run.end()
    assert desk.only()["iteration"] == 2, "a block may end early"


def test_stages_and_blocks_that_a_spec_drops_are_no_trouble(tmp_path, write, watching):
    run = write(tmp_path / "a", spec="stages: {a: {kind: rollout}, b: null}\nloop: {start: null, main: {repeat: 3, do: [a]}}\n")
    run.commit("main.0", "a", "rollout")
    row = watching(tmp_path).only()
    assert (row["iteration"], row["total"]) == (1, 3)


def test_time_left_is_the_pace_of_whole_iterations(tmp_path, write, watching):
    run = write(tmp_path / "a")
    desk = watching(tmp_path)
    run.evaluate("start", 0.5)
    assert desk.only()["left"] is None
    assert [s["stage"] for s in desk.panel(desk.id())["steps"]] == ["rollout", "train", "evaluate"], "of the block that comes next"
    run.iteration(0, 0.5, seconds=2.0)  # 2 + 2 + 1 seconds
    assert desk.only()["left"] == 15.0
    run.commit("main.1", "rollout", "rollout", iteration=1, seconds=2.0)
    assert desk.only()["left"] == 13.0
    steps = desk.panel(desk.id())["steps"]
    assert [(s["stage"], s["usual"]) for s in steps] == [("rollout", 2.0), ("train", 2.0), ("evaluate", 1.0)]
    assert [s["state"] for s in steps] == ["done", "at work", "waiting"]
    fresh = watching(tmp_path)  # has seen no commit arrive
    assert fresh.only()["state"] == "stale"
    assert [s["state"] for s in fresh.panel(fresh.id())["steps"]] == ["done", "waiting", "waiting"], "nothing is at work in a stale run"


def test_curves_stand_at_iterations_tokens_and_seconds(tmp_path, write, watching):
    run = write(tmp_path / "a")
    run.evaluate("start", 0.0)
    run.iteration(0, 0.5)
    run.iteration(1, 0.75)
    desk = watching(tmp_path)
    name = desk.id()
    data = desk.runs.get(name).data
    costs, (series,) = Costs(data.lines), Metrics(data.lines).named("eval/sums/pass@1")
    assert costs.points(series, "iteration") == [(0.0, 0.0), (1.0, 0.5), (2.0, 0.75)]
    assert costs.points(series, "tokens") == [(0.0, 0.0), (100.0, 0.5), (200.0, 0.75)]
    assert costs.points(series, "seconds") == [(0.0, 0.0), (2.0, 0.5), (4.0, 0.75)], "evaluations cost nothing here"
    chart = desk.curves({"run": [name], "x": ["tokens"]})["charts"][0]
    assert chart["title"] == "pass@1 on sums" and chart["rows"] == [[0.0, 0.0], [100.0, 0.5], [200.0, 0.75]]
    assert chart["svg"].startswith("<svg ")


def test_runs_are_drawn_in_the_same_axes(tmp_path, write, watching):
    for name, value in (("a", 0.25), ("b", 0.5)):
        run = write(tmp_path / name)
        run.iteration(0, value)
        run.iteration(1, 2 * value)
    desk = watching(tmp_path)
    ids = [r["id"] for r in sorted(desk.overview()["rows"], key=lambda r: r["label"])]
    found = {c["title"]: c for c in desk.curves({"run": ids})["charts"]}
    assert found["pass@1 on sums"]["curves"] == ["a", "b"] == found["loss"]["curves"]
    assert found["pass@1 on sums"]["rows"] == [[1.0, 0.25, 0.5], [2.0, 0.5, 1.0]]
    more = desk.curves({"run": ids, "more": ["rollout/generated_tokens"]})
    assert "rollout/generated_tokens" in {c["title"] for c in more["charts"]}, "what was asked for is drawn though it never changed"


def test_every_run_keeps_its_share_of_a_chart(tmp_path, write, watching):
    for name in "abc":
        run = write(tmp_path / name)
        for n in range(2):
            for stage in range(5):
                for _ in range(1 + (stage == 4)):
                    run.commit(f"main.{n}", f"s{stage}", "rollout", {"rollout/reward": n + stage / 10}, n)
    desk = watching(tmp_path)
    ids = [r["id"] for r in sorted(desk.overview()["rows"], key=lambda r: r["label"])]
    (chart,) = desk.curves({"run": ids})["charts"]
    assert chart["curves"] == [f"{name}, {stage}" for name in "abc" for stage in ("s4", "s0")] and chart["note"] == "6 of 15 shown"
    (chart,) = desk.curves({"run": ids[:1]})["charts"]
    assert chart["curves"] == ["s0", "s1", "s2", "s3", "s4"] and not chart["note"]


def test_trajectories_come_in_portions_and_once_more_only_where_they_changed(tmp_path, write, watching, monkeypatch):
    import pyarrow.parquet as pq

    from selfevo.tables import scores_table

    monkeypatch.setattr(trajectories, "PORTION", 4)
    run = write(tmp_path / "a")
    for i, count in enumerate((3, 10)):
        run.put(f"main.{i}", "rollout", [row(f"main.{i}/rollout", n) for n in range(count)])
        run.commit(f"main.{i}", "rollout", "rollout", iteration=i, table="rows")
    desk = watching(tmp_path)
    name = desk.id()
    cursor, got, answers = "", {}, 0
    while True:
        answer = desk.trajectories(name, {"cursor": [cursor]})
        answers += 1
        assert sum(p["rows"] for p in answer["parts"]) <= 4
        for part in answer["parts"]:
            mine = got.setdefault(part["part"], [])
            assert part["start"] == len(mine)
            mine += part["reward"]
        cursor = answer["cursor"]
        if not answer["more"]:
            break
    assert answers == 4 and got == {0: [0, 0.1, 0.2], 1: [n / 10 or 0 for n in range(10)]} and answer["total"] == 13
    assert desk.trajectories(name, {"cursor": [cursor]})["parts"] == []
    rows = [row("main.0/rollout", n).rewarded("score", 1.0) for n in range(3)]
    file = run.root / "tables/main.1/score.parquet"
    pq.write_table(scores_table(rows, {r.trajectory.id: "main.0/rollout" for r in rows}), file)
    run.commit("main.1", "score", "score", iteration=1, table="scores")
    desk.overview()
    (again,) = desk.trajectories(name, {"cursor": [cursor]})["parts"]
    assert (again["part"], again["start"], again["reward"]) == (0, 0, [1, 1, 1])
    assert desk.trajectories(name, {"cursor": ["another.1.2.3"]})["anew"]


def test_a_trajectory_is_found_searched_and_shown_with_its_tree(tmp_path, write, watching):
    run = write(tmp_path / "a")
    path = "main.0/rollout"
    rows = [row(path, n, f"text {n} Größe") for n in range(3)] + [row(path, 3, "branch", parent=f"{path}/00001.0", prefix=2)]
    run.put("main.0", "rollout", rows)
    run.commit("main.0", "rollout", "rollout", table="rows")
    desk = watching(tmp_path)
    name = desk.id()
    assert desk.find(name, {"id": [f"{path}/00002.0"]}) == {"part": 0, "row": 2}
    assert desk.find(name, {"id": ["main.7/rollout/1"]})["row"] == -1
    assert desk.search(name, {"text": ["TEXT 1"]})["found"] == {0: [1]}
    assert desk.search(name, {"text": ["größe"]})["found"] == {0: [0, 1, 2]}
    assert desk.search(name, {"text": ["2+3"]})["found"] == {0: [3]}
    assert desk.words(name, {"part": ["0"], "start": ["1"], "stop": ["3"]})["words"] == ["2+1", "2+2"]
    shown = desk.trajectory(name, {"part": ["0"], "row": ["3"]})
    assert shown["turns"][0]["text"] == "branch" and [n["id"] for n in shown["tree"]] == [f"{path}/00001.0", f"{path}/00003.0"]
    assert "tree" not in desk.trajectory(name, {"part": ["0"], "row": ["0"]})
    for part, at in (("9", "0"), ("0", "99")):
        with pytest.raises(Missing):
            desk.trajectory(name, {"part": [part], "row": [at]})


def test_the_latest_failure_of_each_kind_says_what_it_said(tmp_path, write, watching):
    run = write(tmp_path / "a")
    for i, word in enumerate(("old", "new")):
        path = f"main.{i}/rollout"
        broken = row(path, 1, status="error", error=f"boom {word}")
        late = row(path, 2).failed("judge", "timeout", f"no answer, {word}")
        run.put(f"main.{i}", "rollout", [row(path, 0), broken, late])
        metrics = {"rollout/error": 1 / 3, "rollout/trajectories": 3.0, "score/judge_timeouts": 1.0}
        run.commit(f"main.{i}", "rollout", "rollout", metrics, i, table="rows")
    run.commit("main.2", "train", "train", {"score/other_errors": 2.0}, 2)
    desk = watching(tmp_path)
    name = desk.id()
    assert desk.panel(name)["failures"] == 6
    found = [tuple(f[k] for k in ("part", "what", "count", "last", "trajectory", "message")) for f in desk.failures(name, {})["failures"]]
    assert found == [
        ("other", "error", 2, "main.2", "", ""),  # no table tells
        ("episode", "error", 2, "main.1", "main.1/rollout/00001.0", "boom new"),
        ("judge", "time-out", 2, "main.1", "main.1/rollout/00002.0", "no answer, new"),
    ]


def test_a_table_that_goes_while_it_is_read_is_no_more_than_missing(tmp_path, write, watching):
    run = write(tmp_path / "a")
    run.put("main.0", "rollout", [row("main.0/rollout", n) for n in range(3)])
    run.commit("main.0", "rollout", "rollout", table="rows")
    desk = watching(tmp_path)
    name = desk.id()
    assert desk.trajectories(name, {})["total"] == 3
    (run.root / "tables/main.0/rollout.parquet").unlink()
    assert desk.find(name, {"id": ["main.0/rollout/00001.0"]})["row"] == -1
    assert desk.search(name, {"text": ["4"]})["found"] == {} and desk.words(name, {"part": ["0"], "start": ["0"]})["words"] == []
    with pytest.raises(Missing):
        desk.trajectory(name, {"part": ["0"], "row": ["0"]})


def test_a_table_that_is_gone_is_named_and_the_rest_is_there(tmp_path, write, watching):
    run = write(tmp_path / "a")
    for i in range(2):
        run.put(f"main.{i}", "rollout", [row(f"main.{i}/rollout", 0)])
        run.commit(f"main.{i}", "rollout", "rollout", iteration=i, table="rows")
    (run.root / "tables/main.0/rollout.parquet").write_bytes(b"PAR1 torn")
    desk = watching(tmp_path)
    answer = desk.trajectories(desk.id(), {})
    assert answer["total"] == 1 and [file for file, _ in answer["missing"]] == ["tables/main.0/rollout.parquet"]


def test_a_loop_that_cannot_be_read_costs_only_its_progress():
    for spec in ({}, {"loop": "nonsense"}, {"loop": {"main": 3}}, {"loop": {"main": {"repeat": "many", "do": 7}}, "stages": [1]}):
        at = progress.place(progress.loop(spec), [])
        assert (at.iteration, at.steps) == (0, ()) and at.total <= 1, spec
