"""A run without weights that starts at once, a tiny trained one, and specs whose replies come from a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from as_user import BARE, TINY
from scripted_specs import POLICY

import selfevo
from selfevo import spec
from selfevo.running import Run, execute


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> selfevo.SavedRun:
    """Real stages and files, no torch; half of its replies never change."""
    return selfevo.run(None, *BARE, dir=tmp_path_factory.mktemp("bare") / "run", show=False)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> selfevo.SavedRun:
    """The first run at smoke-test sizes, every version of its weights kept."""
    keys = {"checkpoint.every": 1, "checkpoint.keep": 9}
    return selfevo.run(None, *TINY, keys, dir=tmp_path_factory.mktemp("trained") / "run", show=False)


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[[dict[str, Any]], Run]:
    """Runs a spec's body, completed with two sums as its tasks, in tmp_path/run."""

    def go(body: dict[str, Any]) -> Run:
        file = tmp_path / "tasks.jsonl"
        file.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in (("2+2", "4"), ("1+1", "2"))))
        data = {"_target_": "selfevo.tasks.Dataset", "path": str(file)}
        base = {
            "name": "scripted", "seed": 3, "task": data, "curriculum": {"_target_": "selfevo.curricula.Epochs", "tasks": data},
            "policies": {"solver": POLICY}, "roles": {"solver": {"policy": "solver", "prompt": "solve"}},
            "prompts": {"solve": "Q {question}"}, "launcher": {"_target_": "selfevo.launchers.Inline"},
        }  # fmt: skip
        return execute(spec.check({**base, **body}), tmp_path / "run")

    return go
