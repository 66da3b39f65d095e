"""What is shown is what is committed, whatever is being written, cut short, deleted or linked to meanwhile."""

import fcntl
import json
import os
import shutil

import pytest

from selfevo.records import Row, Task, Trajectory, Turn
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
