"""Trackers run for real, offline: what was logged can be read back, and a resumed run continues the same record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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
    pytest.importorskip("tensorboard")
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


def test_tensorboard_keeps_runs_apart_in_a_shared_folder(tmp_path):
    pytest.importorskip("tensorboard")
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
tracker.line({"stage": "score", "iteration": iteration, "seconds": 0.5, "metrics": {"score/score": score}})
tracker.finish(status, {"total": 3.0})
"""


def wandb_run(root: Path, resumed: str, iteration: int, score: float, status: str) -> bytes:
    """One process of a tracked run; what its record holds. (wandb's service flushes the file as the process ends.)"""
    before = set(root.glob("wandb/offline-run-*/*.wandb"))
    command = [sys.executable, "-c", WANDB_RUN, str(root), resumed, str(iteration), str(score), status]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (made,) = set(root.glob("wandb/offline-run-*/*.wandb")) - before
    return made.read_bytes()


def test_wandb_offline_records_metrics_spec_and_status_and_resumes_under_one_id(tmp_path):
    pytest.importorskip("wandb")
    first = wandb_run(tmp_path, "new", 0, 0.125, "stopped")
    run_id = (tmp_path / "wandb_id.txt").read_text().strip()
    commit(tmp_path, line(0, score=0.125))
    second = wandb_run(tmp_path, "resumed", 1, 0.875, "done")
    assert (tmp_path / "wandb_id.txt").read_text().strip() == run_id
    for record, held in ((first, (b"0.125", b"stopped")), (second, (b"0.875", b"done"))):
        assert all(text in record for text in (*held, run_id.encode(), b"score/score", b"learning", b"total_seconds/total"))
    assert b"0.875" not in first and b"0.125" not in second


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
