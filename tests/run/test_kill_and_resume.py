"""kill -9 at random moments, then resume: byte-identical policies and equal metrics (scripts/kill_and_resume.py tries more moments)."""

import random

import pytest
from kill_and_resume import SHORT, difference, fingerprint, finish, trial

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never killed, and how long it took from its first file to its last."""
    root = tmp_path_factory.mktemp("whole") / "run"
    finish(root, SHORT)
    first = (root / "spec.yaml").stat().st_mtime
    return fingerprint(root), (root / "manifest.jsonl").stat().st_mtime - first


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_and_resumed_run_ends_as_one_that_was_never_killed(whole, tmp_path, seed):
    expected, length = whole
    rng = random.Random(seed)
    killed, got = trial(tmp_path, "run", 4.0 + rng.uniform(0, length), SHORT, again=4.0 + rng.uniform(0, length) if seed == 2 else None)
    print("killed" if killed else "had already ended")
    assert difference(expected, got) == ""
    assert len(expected["policies"]) > 0
