"""What fails in an episode is recorded; what fails in all of them ends the run, uncommitted."""

import pytest
from scripted_specs import EXACT, engine

from selfevo.errors import EpisodesError


def body(on, group):
    return {
        "engine": engine(Q="#### 4"),
        "stages": {
            "rollout": {
                "kind": "rollout",
                "role": "solver",
                "tasks": "curriculum",
                "n": 2,
                "group": group,
                "strategy": {"_target_": "failing.Failing", "on": on},
            },
            "score": {"kind": "score", "of": "rollout", "verifier": EXACT},
        },
        "loop": {"main": {"repeat": 2, "do": ["rollout", "score"]}},
    }


def test_a_cause_that_no_episode_survives_ends_the_run_with_its_first_words(run_of, tmp_path):
    words = r"main.0/rollout: each of 8 episodes failed; the first: OSError: the world is gone \(failing.py:\d+\)"
    with pytest.raises(EpisodesError, match=words):
        run_of(body("", group=4))
    assert not (tmp_path / "run" / "metrics.jsonl").exists() or not (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "main.0" not in (tmp_path / "run" / "manifest.jsonl").read_text()


def test_episodes_that_fail_among_others_are_recorded_and_the_run_goes_on(run_of):
    _, lines = run_of(body("1+1", group=4))
    assert [line["metrics"]["rollout/error"] for line in lines if line["stage"] == "rollout"] == [0.5, 0.5]
    assert [line["metrics"]["score/exact"] for line in lines if line["stage"] == "score"] == [1, 1]  # of those that were judged


def test_a_few_episodes_that_all_fail_may_be_chance(run_of):
    _, lines = run_of(body("", group=3))
    assert [line["metrics"]["rollout/error"] for line in lines if line["stage"] == "rollout"] == [1, 1]
