"""What was fitted is on record: the samples of a train stage, their advantages included."""

import numpy as np

from selfevo import spec
from selfevo.commits import read_rows, table_name
from selfevo.running import execute
from selfevo.tables import samples_from


def test_a_train_stage_records_its_samples_with_the_advantages_that_the_rewards_imply(tmp_path):
    overrides = ["scale=tiny", "scale.iterations=1", "stages.evaluate=null", "loop.start=null", "loop.main.do=[rollout,score,train]"]
    _, checked = spec.preflight(overrides, [], "config", False)
    run = execute(checked, tmp_path / "run")
    samples = samples_from(run.store.read_table(table_name("main.0", "train")))
    rows = read_rows(run.store, "main.0", "score")
    assert [s.id for s in samples] == [r.trajectory.id for r in rows]
    groups = {r.group for r in rows}
    assert len(groups) == 4
    for name in groups:
        members = [i for i, r in enumerate(rows) if r.group == name]
        rewards = np.array([rows[i].reward("score") for i in members])
        spread = rewards.std(ddof=1)
        expected = (rewards - rewards.mean()) / (spread + 1e-6) if spread > 0 else 0 * rewards
        assert np.allclose([samples[i].columns["outcome"] for i in members], expected, atol=1e-9)
    for sample, row in zip(samples, rows, strict=True):
        (turn,) = row.trajectory.turns
        assert sample.response == turn.tokens and sample.contexts["train"] == turn.context
        assert sample.columns["logp:sampler"] == turn.logprobs
