"""`steps`: so many optimizer steps in an update, whatever the number of samples."""

from __future__ import annotations

import pytest
import torch

from selfevo.errors import UserError
from selfevo.objectives import NLL


def after(bench, **settings):
    """Weights and steps after one update on five samples."""
    policy, ctx = bench.policy(), bench.Context()
    learner = bench.learner(bench.samples(5), {"nll": NLL()}, lr=0.01, mini_batch=2, **settings)
    learner.update(policy, [], ctx)
    return torch.cat([t.flatten() for t in policy.model.state_dict().values()]), learner.state_dict()["learned"]["weights"]["steps"]


@pytest.mark.parametrize("steps", [1, 3, 4, 7])
def test_an_update_takes_as_many_steps_as_asked(bench, steps):
    assert after(bench, steps=steps)[1] == steps


def test_whole_passes_are_the_same_either_way(bench):
    # five samples in twos are three steps a pass
    a, b = after(bench, epochs=2), after(bench, steps=6)
    assert a[1] == b[1] == 6
    assert torch.equal(a[0], b[0])
    assert not torch.equal(a[0], after(bench, steps=5)[0])


def test_no_steps_are_refused(bench):
    with pytest.raises(UserError, match="steps is 0"):
        after(bench, steps=0)


def test_nothing_to_learn_takes_no_step(bench):
    policy = bench.policy()
    assert bench.learner([], {"nll": NLL()}, steps=4).update(policy, [], bench.Context()) is None
