"""Where a run is in its loop, how long it may take, and its curves over iterations, tokens and seconds."""

from selfevo.report.series import Metrics
from selfevo.watch import progress
from selfevo.watch.curves import Costs


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


def test_a_loop_that_cannot_be_read_costs_only_its_progress():
    for spec in ({}, {"loop": "nonsense"}, {"loop": {"main": 3}}, {"loop": {"main": {"repeat": "many", "do": 7}}, "stages": [1]}):
        at = progress.place(progress.loop(spec), [])
        assert (at.iteration, at.steps) == (0, ()) and at.total <= 1, spec
