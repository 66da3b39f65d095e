"""Trackers' names are the report's: no curve mixes two stages, and what one stage logs keeps its own name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from as_user import BARE
from scripted_specs import POLICY, coevolution

import selfevo
from selfevo import spec
from selfevo.report.read import read_run
from selfevo.report.series import Metrics
from selfevo.running import execute
from selfevo.trackers.names import EVERY, Names
from selfevo.view import committed


def told(root: Path) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], str]]:
    """{(metric, stage): name}, as trackers have it and as the report's legends have it."""
    run = read_run(root)
    names = Names(run.spec)
    ours: dict[tuple[str, str], str] = {}
    for line in committed(root):
        for metric, (name, value) in zip(line["metrics"], names.scalars(line), strict=True):
            assert line["metrics"][metric] == value and ours.setdefault((metric, line["stage"]), name) == name
    known = Metrics(run.lines)
    return ours, {(s.metric, s.stage): s.label for metric in {s.metric for s in known.all} for s in known.named(metric)}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rollout, three score and two train stages."""
    folder = tmp_path_factory.mktemp("several")
    file = folder / "tasks.jsonl"
    file.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in (("2+2", "4"), ("1+1", "2"))))
    data = {"_target_": "selfevo.tasks.Dataset", "path": str(file)}
    body: Mapping[str, Any] = {"name": "several", "seed": 3, "task": data, "launcher": {"_target_": "selfevo.launchers.Inline"},
                               "policies": {"solver": POLICY}, **coevolution()}  # fmt: skip
    execute(spec.check(dict(body)), folder / "run")
    return folder / "run"


def test_no_curve_mixes_two_stages(several: Path) -> None:
    ours, _ = told(several)
    assert len(set(ours.values())) == len(ours)
    assert all(name in (metric, f"{metric} ({stage})") for (metric, stage), name in ours.items())


def test_where_every_stage_of_a_kind_logs_a_metric_the_names_are_the_reports(several: Path) -> None:
    ours, report = told(several)
    known = {key: name for key, name in ours.items() if any(re.fullmatch(pattern, key[0]) for _, pattern in EVERY)}
    assert {"rollout/length (attempts)", "score/keep (marks)"} <= set(known.values())
    shared = {metric for metric, _ in known if sum(m == metric for m, _ in known) > 1}
    assert {k: v for k, v in known.items() if k[0] in shared} == {k: v for k, v in report.items() if k[0] in shared}


def test_of_other_metrics_the_first_stage_keeps_the_plain_name() -> None:
    names = Names({"stages": {"a": {"kind": "rollout"}, "b": {"kind": "score"}}})
    lines = [{"stage": s, "metrics": {"curriculum/level": 1.0, "time/io": 2.0}} for s in ("a", "b", "a")]
    assert [[name for name, _ in names.scalars(line)] for line in lines] == [
        ["curriculum/level", "time/io"], ["curriculum/level (b)", "time/io (b)"], ["curriculum/level", "time/io"],
    ]  # fmt: skip


def test_a_plain_run_has_the_reports_names_throughout(tmp_path: Path) -> None:
    run = selfevo.run(None, *BARE, dir=tmp_path / "run", show=False)
    ours, report = told(run.root)
    assert ours == report and "eval/chain_sum/pass@1" in ours.values() and "time/generate (rollout)" in ours.values()
