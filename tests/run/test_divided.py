"""A run that has its process to itself divides its calls of the engine; what it learns is the same up to rounding."""

import pytest
import torch

from selfevo import spec
from selfevo.commits import read_rows
from selfevo.running import execute

SPEC = ["experiment=quickstart", "scale=tiny", "scale.tasks=4", "scale.group=16", "scale.iterations=2", "stages.evaluate=null",
        "loop.start=null", "loop.main.do=[rollout,score,train]"]  # fmt: skip


@pytest.mark.slow
def test_a_run_alone_draws_the_same_replies_in_two_processes_and_one_with_a_rollout_ahead_draws_them_in_its_own(tmp_path, two_threads):
    divided = execute(spec.read(SPEC), tmp_path / "divided")
    whole = execute(spec.read([*SPEC, "engine.processes=1"]), tmp_path / "whole")
    ahead = execute(spec.read([*SPEC, "loop.main.ahead={rollout: 1}"]), tmp_path / "ahead")
    assert divided.world.engines[""].alone and not ahead.world.engines[""].alone
    texts = [[r.trajectory.turns[0].text for r in read_rows(run.store, "main.0", "score")] for run in (divided, whole, ahead)]
    assert texts[0] == texts[1] == texts[2]
    again = execute(spec.read(SPEC), tmp_path / "again")
    kept = [dict(run.world.live("solver").model.state_dict()) for run in (divided, again)]
    assert all(torch.equal(kept[0][k], kept[1][k]) for k in kept[0])
