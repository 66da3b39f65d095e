"""Whole runs with trackers: what was written is read back from event files and from W&B's own file, and held against the run's tables."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from as_user import BARE, TINY, reached, start, waiting
from broken_tracker import Broken
from wandb_records import written

import selfevo
from selfevo.errors import Stopped, UserError
from selfevo.report.charts import sections
from selfevo.report.read import read_run
from selfevo.report.series import Metrics
from selfevo.stages import Rollout
from selfevo.store import file_sha
from selfevo.trackers.names import Names
from selfevo.view import committed

VARIED = [
    *(b for b in BARE if "replies" not in b), "+engine.choose=seed",
    "engine.replies=['#### 7','5+5=10 #### 10','1+2=3 3+4=7 7+8=15 #### 15']",
]  # fmt: skip
"""Replies of several lengths, so that curves move and the report draws them."""
BOARD = {"+tracker.board": {"_target_": "selfevo.trackers.TensorBoard"}}
WANDB = {"+tracker.wandb": {"_target_": "selfevo.trackers.WandB", "mode": "offline", "samples": 3}}


class Near(float):
    """A number that one of single precision equals: event files hold these."""

    def __eq__(self, other: object) -> bool:
        return bool(super().__eq__(pytest.approx(other, rel=1e-6)))

    __hash__ = float.__hash__


class Board:
    """Event files, read by TensorBoard's own reader."""

    def __init__(self, folder: Path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        self.events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
        self.events.Reload()

    @property
    def scalars(self) -> dict[str, list[tuple[int, float]]]:
        return {tag: [(e.step, e.value) for e in self.events.Scalars(tag)] for tag in self.events.Tags()["scalars"]}

    def texts(self, tag: str) -> list[tuple[int, str]]:
        return [(e.step, e.tensor_proto.string_val[0].decode()) for e in self.events.Tensors(f"{tag}/text_summary")]


def expected(root: Path) -> dict[str, list[tuple[int, float]]]:
    """{name: (number of the line, value)} of everything committed."""
    names, out = Names(yaml.safe_load((root / "spec.yaml").read_text())), dict[str, list[tuple[int, float]]]()
    for number, line in enumerate(committed(root)):
        for name, value in names.scalars(line):
            out.setdefault(name, []).append((number, Near(value)))
    return out


def metrics_only(scalars: dict[str, Any]) -> dict[str, Any]:
    return {name: points for name, points in scalars.items() if "/" in name and not name.startswith(("seconds/", "groups/"))}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> selfevo.SavedRun:
    return selfevo.run(None, *VARIED, BOARD, dir=tmp_path_factory.mktemp("tracked") / "run", show=False)


def test_tensorboard_holds_every_committed_value_under_its_name(tracked: selfevo.SavedRun) -> None:
    seen = Board(tracked.root / "tensorboard").scalars
    assert expected(tracked.root) == metrics_only(seen) and len(seen) > 30
    assert [value for _, value in seen["updates"]] == list(tracked.stages["updates"])


def test_tensorboard_holds_the_spec_as_text_and_as_hyperparameters(tracked: selfevo.SavedRun) -> None:
    from tensorboard.plugins.hparams import metadata

    board = Board(tracked.root / "tensorboard")
    ((step, text),) = board.texts("spec")
    assert step == 0 and yaml.safe_load("\n".join(line[4:] for line in text.splitlines())) == tracked.spec
    held = board.events.PluginTagToContent("hparams")
    begun = metadata.parse_session_start_info_plugin_data(held[metadata.SESSION_START_INFO_TAG])
    assert begun.hparams["seed"].number_value == 0 and begun.hparams["scale.iterations"].number_value == 2
    assert begun.hparams["task._target_"].string_value == tracked.spec["task"]["_target_"]
    assert not [name for name in begun.hparams if name.startswith(("stages.", "paper.", "prompts."))]
    experiment = metadata.parse_experiment_plugin_data(held[metadata.EXPERIMENT_TAG])
    assert [m.name.tag for m in experiment.metric_infos] == ["eval/chain_sum/pass@1"]
    assert metadata.SESSION_END_INFO_TAG in held


def test_tensorboards_layout_is_the_reports_sections_and_charts(tracked: selfevo.SavedRun) -> None:
    from tensorboard.plugins.custom_scalar import layout_pb2

    board = Board(tracked.root / "tensorboard")
    (event,) = board.events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    report = [s for s in sections(Metrics(read_run(tracked.root).lines)) if s.sources]
    drawn = {c.title: [chart.title for chart in c.chart] for c in layout.category}
    extra = {"groups solved (share)", "distinct answers per answer", "reward precision"}
    assert {c: [t for t in titles if t not in extra] for c, titles in drawn.items()} == {
        s.title: [title for title, _ in s.sources] for s in report
    } | ({} if any(s.title.startswith("Exploration") for s in report) else {"Exploration and exploitation": []})
    assert extra <= set(drawn["Exploration and exploitation"])
    tags = set(board.scalars)
    for chart in (chart for category in layout.category for chart in category.chart):
        wanted = [v for s in chart.margin.series for v in (s.value, s.lower, s.upper)]
        assert set(wanted) <= tags
        assert chart.title == "reward precision" or all(any(re.match(pattern, tag) for tag in tags) for pattern in chart.multiline.tag)


def group_curves(scalars: dict[str, Any]) -> dict[str, list[float]]:
    return {name: [float(f"{value:.5g}") for _, value in points] for name, points in scalars.items() if name.startswith("groups/")}


def reported_groups(root: Path) -> dict[str, list[float]]:
    from selfevo.report.entries import Entries
    from selfevo.report.explore import groups

    return {s.metric: [float(f"{value:.5g}") for value in s.values] for s in groups(Entries(read_run(root)))}


def test_what_became_of_groups_is_what_the_report_counts(tracked: selfevo.SavedRun) -> None:
    seen = group_curves(Board(tracked.root / "tensorboard").scalars)
    assert seen == reported_groups(tracked.root) and {"groups/some", "groups/distinct"} <= set(seen)


def shown(text: str) -> list[str]:
    return [part for part in text.split("\n\n**") if part]


def test_samples_run_from_the_highest_to_the_lowest_reward_and_hold_what_the_tables_hold(tracked: selfevo.SavedRun) -> None:
    board = Board(tracked.root / "tensorboard")
    found = board.texts("samples/score")
    lines = committed(tracked.root)
    assert [step for step, _ in found] == [i for i, line in enumerate(lines) if line["stage"] == "score"]
    frame = tracked.trajectories("rollout")
    for (_, text), path in zip(found, ("main.0", "main.1"), strict=True):
        rows = frame[frame["path"] == path].set_index("id")
        assert len(shown(text)) == 4
        for part in shown(text):
            (name,) = [i for i in rows.index if f"{i}," in part]
            row = rows.loc[name]
            assert f"reward {row['reward']:g}**" in part and f"    policy: {row['reply']}" in part
            assert f"    reference: {row['reference']}" in part and f"    question: {row['var/question']}" in part
    assert [step for step, _ in board.texts("samples/evaluate")] == [i for i, line in enumerate(lines) if line["stage"] == "evaluate"]


@pytest.mark.slow
def test_model_output_is_a_block_of_code_whatever_it_holds(tmp_path: Path) -> None:
    hostile = "```\n</code><script>alert(1)</script>\n[x](javascript:alert(1))\n\n# big"
    replies = {"engine.replies": [hostile]}
    run = selfevo.run(None, *VARIED[:-1], replies, BOARD, dir=tmp_path / "run", show=False)
    for _, text in Board(run.root / "tensorboard").texts("samples/score"):
        for line in text.splitlines():
            assert line == "" or line.startswith("    ") or line.startswith("**reward 0**") or line.startswith("**no reward")


def test_no_samples_where_none_are_wanted(tmp_path: Path) -> None:
    none = {"+tracker.board": {"_target_": "selfevo.trackers.TensorBoard", "samples": 0}}
    run = selfevo.run(None, *BARE, none, dir=tmp_path / "run", show=False)
    tags = Board(run.root / "tensorboard").events.Tags()
    assert not [tag for tag in (*tags["tensors"], *tags["scalars"]) if tag.startswith(("samples", "groups"))]


@pytest.mark.slow
def test_a_killed_run_has_every_point_once_after_it_is_resumed(tmp_path: Path) -> None:
    root, gate = tmp_path / "run", tmp_path / "gate"
    process = start("run", *VARIED, waiting(gate), "tracker=tensorboard", f"hydra.run.dir={root}")
    reached(gate, process)
    end = time.monotonic() + 60
    while not {"eval/chain_sum/pass@1", "rollout/length"} <= set(Board(root / "tensorboard").scalars):  # on disk before the kill
        assert time.monotonic() < end, "what is committed beside the stage at the gate is never there"
        time.sleep(0.05)
    process.kill()
    process.communicate()
    gate.touch()
    selfevo.resume(root, show=False)
    board = Board(root / "tensorboard")
    assert expected(root) == metrics_only(board.scalars)
    assert len(board.texts("spec")) == len(board.texts("status")) == 1 and len(board.events.Tensors("custom_scalars__config__")) == 1
    assert len(board.texts("samples/score")) == 2 and len(board.texts("samples/evaluate")) == 3


def test_a_run_resumed_within_a_second_has_its_event_file_read_last(tracked: selfevo.SavedRun, tmp_path: Path) -> None:
    """TensorBoard reads files by name: second, host, process. Here another host's file, late in the alphabet, is of this very second."""
    from selfevo.spec.check import load

    folder = tmp_path / tracked.root.name
    folder.mkdir()
    earlier = folder / f"events.out.tfevents.{int(time.time()):010d}.zzz.1.0"
    earlier.touch()
    tracker = selfevo.trackers.TensorBoard(dir=str(tmp_path))
    tracker.start(load(tracked.root / "spec.yaml"), tracked.root, resumed=True)
    tracker.finish("done", {})
    first, last = sorted(folder.iterdir())
    assert first == earlier and last.stat().st_size > 0


def tables(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): file_sha(p) for p in sorted(root.glob("tables/**/*.parquet"))}


@pytest.mark.parametrize("on", ["line", "start", *(pytest.param(on, marks=pytest.mark.slow) for on in ("progress", "finish"))])
def test_a_tracker_that_fails_harms_no_run_and_is_named_once(
    tracked: selfevo.SavedRun, tmp_path: Path, on: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Broken.calls = 0
    broken = {"+tracker.mine": {"_target_": "broken_tracker.Broken", "on": on}, "+tracker.fine": {"_target_": "broken_tracker.Broken"}}
    broken["+tracker.fine"]["on"] = "never"
    run = selfevo.run(None, *VARIED, broken, dir=tmp_path / "run")
    assert run.status == "done" and (run.root / "report.html").is_file() and tables(run.root) == tables(tracked.root)
    said = "tracker 'mine': RuntimeError: the server is gone; the run goes on without it"
    assert Broken.calls == 1 and capsys.readouterr().out.count(said) == 1
    if on != "start":  # log.txt is opened when observers are told of the start, which is after this
        assert (run.root / "log.txt").read_text().count(said) == 1


def test_a_folder_that_cannot_be_written_harms_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    board = {"+tracker.board": {"_target_": "selfevo.trackers.TensorBoard", "dir": str(tmp_path / "file")}}
    assert selfevo.run(None, *BARE, board, dir=tmp_path / "run").status == "done"
    assert "note: tracker 'board': NotADirectoryError" in capsys.readouterr().out


def test_a_package_that_is_missing_ends_the_run_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match="tracker 'tensorboard' needs the package"):
        selfevo.run(None, *BARE, BOARD, dir=tmp_path / "run", show=False)


@pytest.mark.slow
def test_wandb_that_is_disabled_writes_nothing_and_stops_nothing(tmp_path: Path) -> None:
    off = {"+tracker.wandb": {"_target_": "selfevo.trackers.WandB", "mode": "disabled"}}
    run = selfevo.run(None, *BARE, off, dir=tmp_path / "run", show=False)
    assert run.status == "done" and not (run.root / "wandb").exists() and "tracker" not in (run.root / "log.txt").read_text()


@pytest.mark.slow
def test_wandb_gets_what_a_kill_kept_from_it_when_the_run_is_resumed(tmp_path: Path) -> None:
    root, gate = tmp_path / "run", tmp_path / "gate"
    process = start("run", *VARIED, waiting(gate), "tracker=wandb", "tracker.wandb.mode=offline", f"hydra.run.dir={root}")
    reached(gate, process)
    process.kill()
    process.communicate()
    gate.touch()
    selfevo.resume(root, show=False)
    steps = [step for record in written(root) for step, _ in record.history]
    assert steps == list(range(len(committed(root)))) and written(root)[-1].summary["status"] == "done"


@pytest.mark.slow
def test_wandb_holds_the_same_over_a_stop_and_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trained run, stopped in its second iteration: one id, every point once, tables of the trajectories, the spec."""
    root, run = tmp_path / "run", Rollout.run

    def stopped(self: Rollout, ctx: Any) -> Any:
        if ctx.where == "main.1/rollout":
            raise Stopped("enough for now")
        return run(self, ctx)

    with monkeypatch.context() as during:
        during.setattr(Rollout, "run", stopped)
        with pytest.raises(Stopped):
            selfevo.run(None, *TINY, WANDB, BOARD, dir=root, show=False)
    saved = selfevo.resume(root, show=False)
    records = written(root)
    assert len(records) == 2 and {r.id for r in records} == {(root / "wandb_id.txt").read_text().strip()}
    points = dict[str, list[tuple[int, float]]]()
    for step, row in (point for r in records for point in r.history):
        for name, value in row.items():
            if "/" in name and not name.startswith("samples/"):
                points.setdefault(name, []).append((step, value))
    wanted = expected(root)
    assert wanted == metrics_only(points) and wanted == metrics_only(Board(root / "tensorboard").scalars)
    assert group_curves(points) == group_curves(Board(root / "tensorboard").scalars) == reported_groups(root)
    assert all(r.metrics["*"] == "updates" for r in records)
    assert {k: v for k, v in records[0].config.items() if k != "_wandb"} == json.loads(json.dumps(saved.spec))
    assert [r.summary["status"] for r in records] == ["stopped", "done"]
    for record, path in zip(records, ("main.0", "main.1"), strict=True):
        (step,) = [s for s, row in record.history if "samples/score" in row]
        rows, judged = record.table("samples/score", step), pq.read_table(root / f"tables/{path}/score.parquet").to_pylist()
        said = {row["trajectory"]: row for row in judged}
        assert len(rows) == 3 and {row["path"] for row in rows} == {path} and {row["stage"] for row in rows} == {"rollout"}
        assert [row["reward"] for row in rows] == [dict(said[row["id"]]["score"]["rewards"])["score"] for row in rows]
        assert {row["reward"] for row in rows} == {dict(s["score"]["rewards"])["score"] for s in said.values()}
