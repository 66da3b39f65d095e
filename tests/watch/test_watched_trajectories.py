"""Trajectories come in portions and change where they were judged again; failures say what they said; a lost table is named."""

import pytest

from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.watch import trajectories
from selfevo.watch.desk import Missing


def row(path, n, text="4", **changes):
    turn = Turn("policy", text, tuple(range(len(text))), context=(1, 2))
    one = Trajectory(f"{path}/{n:05d}.0", Task({"question": f"2+{n}"}, answer="4"), "solver", "solver@000000", (turn,), f"e{n}", **changes)
    return Row.of(one).rewarded("score", n / 10)


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
