"""Every optimizer in the tree composes and takes a step of the declared kind on scored rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from selfevo.records import Row, Score, Task, Trajectory, Turn

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ["sft", "reinforce", "rloo", "reinforce_pp", "grpo", "dr_grpo", "dapo", "gspo", "cispo", "ppo"]


def compose(name):
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    with initialize_config_dir(str(CONFIGS), version_base=None):
        config = compose(overrides=[f"+optimizer={name}", "+scale=tiny"])
    return instantiate(config.optimizer, _convert_="all")


def scored_rows(bench, policy, right):
    """Two tasks, four answers each; `right` are the indices with reward 1."""
    rows = []
    for i, s in enumerate(bench.sampled(bench.samples(8), policy)):
        task = Task({"q": str(i // 4)})
        turn = Turn("policy", "", s.response, s.columns["logp:sampler"], s.contexts["train"], "solver@000000", finish="stop")
        trajectory = Trajectory(f"t{i}", task, "solver", "solver@000000", (turn,), f"e{i}")
        rows.append(Row(trajectory, Score(trajectory.id, rewards={"score": float(i in right)})))
    return rows


def log_probs(bench, policy, rows):
    again = bench.sampled(bench.samples(8), policy)
    return torch.tensor([sum(s.columns["logp:sampler"]) for s in again])


@pytest.mark.parametrize("name", NAMES)
def test_one_update_raises_right_answers_over_wrong_ones(bench, name):
    policy, right = bench.policy(), {0, 1, 4, 6}
    rows = scored_rows(bench, policy, right)
    learner = compose(name)
    learner.lr = 1e-3
    before = log_probs(bench, policy, rows)
    version = learner.update(policy, rows, bench.Context({"solver@base": policy.clone_frozen()}))
    moved = log_probs(bench, policy, rows) - before
    good = torch.tensor([i in right for i in range(8)])
    assert version.id == "000001"
    if name == "sft":
        assert (moved > 0).sum() >= 7  # every answer is imitated, whatever its reward
    else:
        assert moved[good].mean() > 0 > moved[~good].mean()


@pytest.mark.parametrize("name", [n for n in NAMES if n != "sft"])
def test_equal_rewards_teach_nothing_but_a_critic(bench, name):
    policy = bench.policy()
    rows = scored_rows(bench, policy, set())
    learner = compose(name)
    learner.objective.pop("kl", None)
    before = {k: v.clone() for k, v in policy.model.state_dict().items()}
    version = learner.update(policy, rows, bench.Context())
    if name == "ppo":
        assert version is not None
    else:
        assert version is None
        assert all(torch.equal(v, before[k]) for k, v in policy.model.state_dict().items())
