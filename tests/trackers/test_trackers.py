"""Trackers run for real, offline: what was logged can be read back, and a resumed run continues the same record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from wandb_records import Written, written

from selfevo.errors import UserError
from selfevo.trackers import TensorBoard, WandB
from selfevo.trackers import tracker as tracker_module

SPEC = SimpleNamespace(name="quickstart", seed=0, raw={"name": "quickstart", "scale": {"iterations": 2}})


def line(iteration: int, **metrics: float) -> dict:
    return {"path": f"main.{iteration}", "stage": "score", "kind": "score", "iteration": iteration, "versions": {}, "seconds": 0.5,
            "metrics": {f"score/{name}": value for name, value in metrics.items()}}  # fmt: skip


def commit(root: Path, *lines: dict) -> None:
    with (root / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(x) + "\n" for x in lines)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_holds_every_metric_at_its_line_and_a_resume_rewrites_what_was_not_committed(tmp_path):
    first = TensorBoard()
    first.start(SPEC, tmp_path, False)
    for i in range(3):  # the third line was never committed: the run was killed there
        first.line(line(i, score=0.25 * i))
    first.finish("failed", {"total": 1.0})
    commit(tmp_path, line(0, score=0.0), line(1, score=0.25))
    again = TensorBoard()
    again.start(SPEC, tmp_path, True)
    again.line(line(2, score=0.75))
    again.finish("done", {"total": 1.0})
    seen = scalars(tmp_path / "tensorboard")
    assert seen["score/score"] == [(0, 0.0), (1, 0.25), (2, 0.75)]
    assert seen["iteration"] == [(0, 0.0), (1, 1.0), (2, 2.0)] and seen["seconds/score"][0] == (0, 0.5)
    assert seen["updates"] == [(0, 0.0), (1, 0.0), (2, 0.0)]


def test_tensorboard_writes_the_last_committed_line_again_that_a_kill_kept_from_it(tmp_path):
    first = TensorBoard()
    first.start(SPEC, tmp_path, False)
    first.line(line(0, score=0.0))
    first._writer.close()  # killed after it committed line 1, before the tracker was told
    commit(tmp_path, line(0, score=0.0), line(1, score=0.25))
    again = TensorBoard()
    again.start(SPEC, tmp_path, True)
    again.line(line(2, score=0.75))
    again.finish("done", {})
    assert scalars(tmp_path / "tensorboard")["score/score"] == [(0, 0.0), (1, 0.25), (2, 0.75)]


def test_tensorboard_keeps_runs_apart_in_a_shared_folder(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        board = TensorBoard(dir=str(tmp_path / "boards"))
        board.start(SPEC, tmp_path / name, False)
        board.line(line(0, score=1.0))
        board.finish("done", {})
    assert sorted(p.name for p in (tmp_path / "boards").iterdir()) == ["one", "two"]


WANDB_RUN = """
import sys
from pathlib import Path
from types import SimpleNamespace
from selfevo.trackers import WandB

root, resumed, iteration, score, status = Path(sys.argv[1]), sys.argv[2] == "resumed", int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
tracker = WandB(mode="offline", project="tests", tags=["a"])
tracker.start(SimpleNamespace(name="quickstart", seed=0, raw={"learning": {"rate": 0.5}}), root, resumed)
tracker.line({"path": f"main.{iteration}", "stage": "score", "kind": "score", "iteration": iteration, "seconds": 0.5,
              "metrics": {"score/score": score}})
tracker.finish(status, {"total": 3.0})
"""


def wandb_run(root: Path, resumed: str, iteration: int, score: float, status: str) -> Written:
    """One process of a tracked run; what its record holds. (wandb's service flushes the file as the process ends.)"""
    command = [sys.executable, "-c", WANDB_RUN, str(root), resumed, str(iteration), str(score), status]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return written(root)[-1]


@pytest.mark.slow
def test_wandb_offline_records_metrics_spec_and_status_and_resumes_under_one_id(tmp_path):
    first = wandb_run(tmp_path, "new", 0, 0.125, "stopped")
    commit(tmp_path, line(0, score=0.125))
    second = wandb_run(tmp_path, "resumed", 1, 0.875, "done")
    assert first.id == second.id == (tmp_path / "wandb_id.txt").read_text().strip()
    points = [(step, row["score/score"], row["iteration"], row["stage"]) for run in (first, second) for step, row in run.history]
    assert points == [(0, 0.125, 0, "score"), (1, 0.875, 1, "score")]
    assert first.config["learning"] == second.config["learning"] == {"rate": 0.5} and first.metrics["*"] == "updates"
    assert (first.summary["status"], first.exit_code) == ("stopped", 1) and (second.summary["status"], second.exit_code) == ("done", 0)
    assert second.summary["total_seconds/total"] == 3.0


def test_fewer_than_no_samples_are_refused():
    for tracker in (TensorBoard, WandB):
        with pytest.raises(UserError, match="samples must be 0 or more, got -1"):
            tracker(samples=-1)


def test_a_mode_that_does_not_exist_names_the_nearest():
    with pytest.raises(UserError, match="mode 'ofline' is unknown; did you mean 'offline'"):
        WandB(mode="ofline")  # type: ignore[arg-type]


@pytest.mark.parametrize("tracker, package", [(WandB(), "wandb"), (TensorBoard(), "tensorboard")])
def test_a_missing_package_names_the_extra_to_install(tmp_path, monkeypatch, tracker, package):
    monkeypatch.setitem(sys.modules, package, None)  # what the import system does for a missing package
    with pytest.raises(UserError, match=rf"tracker '{package}' needs the package '{package}': pip install 'selfevo\[track\]'"):
        tracker.start(SPEC, tmp_path, False)


def test_finishing_a_tracker_that_never_started_does_nothing():
    WandB().finish("failed", {})
    TensorBoard().finish("failed", {})


def test_trackers_import_neither_their_packages_nor_torch():
    code = "import selfevo.trackers, selfevo.view, sys; print([m for m in ('wandb', 'tensorboard', 'torch', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and tracker_module.load("json", "x", "y") is json
