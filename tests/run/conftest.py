"""Fixtures of the run's tests: a spec's body completed, checked and run."""

import json

import pytest
from scripted_specs import POLICY

from selfevo import spec
from selfevo.running import execute


@pytest.fixture
def checked(tmp_path):
    """Completes a spec's body with two sums as its task source, and checks it."""

    def check(body):
        file = tmp_path / "tasks.jsonl"
        file.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in (("2+2", "4"), ("1+1", "2"))))
        data = {"_target_": "selfevo.tasks.Dataset", "path": str(file)}
        base = {
            "name": "scripted",
            "seed": 3,
            "task": data,
            "curriculum": {"_target_": "selfevo.curricula.Epochs", "tasks": data},
            "policies": {"solver": POLICY},
            "roles": {"solver": {"policy": "solver", "prompt": "solve"}},
            "prompts": {"solve": "Q {question}"},
            "launcher": {"_target_": "selfevo.launchers.Inline"},
        }
        return spec.check({**base, **body})

    return check


@pytest.fixture
def run_of(checked, tmp_path):
    """Runs a spec's body in tmp_path/run; returns the run and its metrics lines."""

    def go(body):
        run = execute(checked(body), tmp_path / "run")
        return run, [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]

    return go
