"""A stranger's method, as docs/adding-a-method.md shows it: one Python file, one YAML file, nothing else touched."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from pages import ROOT, blocks_of

from selfevo.errors import UserError
from selfevo.records import Row, Sample, Score, Task, Trajectory

FILES = {b.file: b for b in blocks_of(ROOT / "docs" / "adding-a-method.md") if b.file is not None}
CODE, CONFIG = "median_baseline.py", "mine/experiment/median.yaml"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder outside the package with the two files of the page."""
    for name, block in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.body)
    return tmp_path


@pytest.fixture
def module(place: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location("median_baseline", place / CODE)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


class Ctx:
    """The two things the estimator asks of a run."""

    name = "median"

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: float) -> None:
        self.logged[name] = value


def rows_of(*groups: list[float]) -> tuple[list[Sample], list[Row]]:
    rows = []
    for g, rewards in enumerate(groups):
        task = Task({"question": str(g)})
        for i, reward in enumerate(rewards):
            t = Trajectory(f"{g}/{i}", task, "solver", "solver@000000", (), f"{g}/{i}")
            rows.append(Row(t, Score(t.id, rewards={"score": reward})))
    samples = [Sample(r.trajectory.id, (1, 2), {"train": (0,)}, row=i) for i, r in enumerate(rows)]
    return samples, rows


def selfevo(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, "-m", "selfevo", *arguments], cwd=place, env=env, capture_output=True, text=True, timeout=600)


def test_the_method_is_one_file_under_sixty_lines_and_one_config() -> None:
    assert set(FILES) == {CODE, CONFIG}
    assert len(FILES[CODE].body.splitlines()) < 60
    assert max(map(len, FILES[CODE].body.splitlines())) <= 140


def test_the_column_is_reward_minus_median_on_hand_worked_groups(module: ModuleType) -> None:
    # medians: 2 of (0, 2, 7); (1 + 3) / 2 = 2 of (0, 1, 3, 9); 5 of (5)
    ctx: Any = Ctx()
    samples, rows = rows_of([7.0, 0.0, 2.0], [0.0, 3.0, 9.0, 1.0], [5.0])
    assert module.MedianBaseline()(samples, rows, ctx) == [5.0, -2.0, 0.0, -2.0, 1.0, 7.0, -1.0, 0.0]
    assert module.MedianBaseline(scale=2.0)(samples, rows, ctx)[:2] == [10.0, -4.0]
    assert ctx.logged == {"advantage/zero": 2 / 8}


def test_a_row_counts_once_however_many_samples_it_has(module: ModuleType) -> None:
    samples, rows = rows_of([7.0, 0.0, 2.0])
    twice: Any = [*samples, Sample("again", (1,), {"train": (0,)}, row=0)]
    assert module.MedianBaseline()(twice, rows, Ctx()) == [5.0, -2.0, 0.0, 5.0]


def test_a_bad_setting_and_a_missing_reward_are_refused_in_one_line(module: ModuleType) -> None:
    with pytest.raises(UserError, match="scale must be above 0, got 0"):
        module.MedianBaseline(scale=0)
    samples, rows = rows_of([1.0])
    with pytest.raises(UserError, match="no reward 'exact'"):
        module.MedianBaseline(reward="exact")(samples, rows, Ctx())


def test_validating_the_method_imports_no_torch(place: Path) -> None:
    code = (
        "import sys; from selfevo.cli import main\n"
        "assert main(['validate', '+experiment=median', '--config-dir', 'mine']) == 0\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(place)}
    done = subprocess.run([sys.executable, "-c", code], cwd=place, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr


@pytest.mark.slow
def test_a_run_uses_the_strangers_part_and_nothing_of_his_but_two_files(place: Path) -> None:
    done = selfevo(place, "run", "+experiment=median", "--config-dir", "mine", "scale=tiny", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in (place / "out" / "metrics.jsonl").read_text().splitlines()]
    trained = [line["metrics"] for line in lines if line["stage"] == "train"]
    assert len(trained) == 2 and all("advantage/zero" in m for m in trained)
    assert json.loads((place / "out" / "manifest.jsonl").read_text().splitlines()[-1])["stage"] == "end"
    spec = yaml.safe_load((place / "out" / "spec.yaml").read_text())
    column = spec["stages"]["train"]["optimizer"]["advantage"]
    assert column["median"] == {"_target_": "median_baseline.MedianBaseline", "reward": "score"} and column["outcome"] is None
    files = {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert {f for f in files if not f.startswith("out/")} == {CODE, CONFIG}
