"""Every verifier config composes, binds to its constructors and judges a gold answer right."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from selfevo.errors import SpecErrors
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.spec.check import build
from selfevo.verifiers import verify

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(p.stem for p in (CONFIGS / "verifier").glob("*.yaml"))


def composed(name, task="selfevo.tasks.Sorting", **settings):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(f"verifier/{name}")
    OmegaConf.update(config, "scale", OmegaConf.load(CONFIGS / "scale" / "tiny.yaml"), force_add=True)
    OmegaConf.update(config, "task", {"_target_": task, **settings}, force_add=True)
    return build(OmegaConf.to_container(config.verifier, resolve=True))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("reasoning_gym", "math", "dapo_math", "program")])
def test_gold_answers_score_more_than_wrong_ones(name, ctx):
    parts = composed(name)
    numbers = {"numbers": [4, 4], "target": 16}
    task = Task({"question": "?", **numbers}, answer="yes" if name == "yes_no" else "16", category="countdown")
    right = "Yes." if name == "yes_no" else "#### 4*4" if name in ("countdown", "bundled") else "#### 16"
    texts = [right, right, "no\n#### 17"]
    turns = [Turn("policy", t, tokens=(1,) * 5) for t in texts]
    rows = verify(parts, [Row.of(Trajectory(str(i), task, "s", "p@0", (t,), "e")) for i, t in enumerate(turns)], ctx)
    assert rows[0].reward("score") == rows[1].reward("score") > rows[2].reward("score")
    assert all(r.score.keep for r in rows)


@pytest.mark.parametrize("name", ["math", "dapo_math", "program"])
def test_configs_that_need_workers_still_bind(name):
    assert all(part.scope in ("row", "group") for part in composed(name).values())


def test_reasoning_gym_answers_are_graded_by_their_dataset(ctx):
    pytest.importorskip("reasoning_gym")
    source = {"dataset": "spell_backward", "size": 3}
    parts = composed("reasoning_gym", "selfevo.tasks.ReasoningGym", **source)
    tasks = list(parts["graded"].grader)
    texts = [f"#### {t.answer}" for t in tasks] + [f"#### {t.answer}x" for t in tasks]
    rows = [Row.of(Trajectory(str(i), tasks[i % 3], "s", "p@0", (Turn("policy", t),), "e")) for i, t in enumerate(texts)]
    assert [r.reward("score") for r in verify(parts, rows, ctx)] == [1.0] * 3 + [0.0] * 3


def test_a_source_that_cannot_grade_is_refused():
    with pytest.raises(SpecErrors, match=r"graded\.grader.*Sorting has no grade"):
        composed("reasoning_gym")


def test_dapo_adds_the_punishment_and_drops_groups_without_a_difference(ctx):
    parts = composed("dapo")  # scale tiny: a limit of 64 tokens, punished beyond 64 - 12
    limit, task = parts["overlong"].max_tokens, Task({"question": "?"}, answer="1")
    rows = [Row.of(Trajectory(str(n), task, "s", "p@0", (Turn("policy", "#### 1", tokens=(1,) * n),), "e")) for n in (5, limit)]
    rows = verify(parts, rows, ctx)
    assert [r.reward("score") for r in rows] == [2.0, 1.0]
    assert [r.score.keep for r in rows] == [False, False]


def test_gold_of_every_bundled_family_passes_the_bundled_verifier(ctx):
    from selfevo.tasks import ChainSum, Countdown, Sorting

    rng, rows = random.Random(0), []
    for source in (ChainSum(), Countdown(), Sorting()):
        for i in range(5):
            task = source.draw(rng)
            rows.append(Row.of(Trajectory(f"{task.category}{i}", task, "s", "p@0", (Turn("policy", source.gold(task)),), "e")))
    assert [r.reward("score") for r in verify(composed("bundled"), rows, ctx)] == [1.0] * 15
