"""The learner tests' bench, for processes that a test starts: pytest's own conftest cannot be imported by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("learner_conftest", Path(__file__).parents[1] / "learner" / "conftest.py")
assert _spec is not None and _spec.loader is not None
_bench = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_bench)

Bench, Context, gaussian, make_samples, near, sampled, tiny_policy = (
    _bench.Bench, _bench.Context, _bench.gaussian, _bench.make_samples, _bench.near, _bench.sampled, _bench.tiny_policy,
)  # fmt: skip
