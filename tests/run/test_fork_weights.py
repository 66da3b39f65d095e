"""A fork of real weights is undone exactly: what follows it is what it would have been without it."""

from safetensors.torch import load_file

from selfevo import spec
from selfevo.running import execute

COMMON = ["scale=tiny", "stages.evaluate=null", "loop.start=null", "optimizer.lr=1e-3", "optimizer.objective.kl=null", "optimizer.ema=0.9"]
TRAIN = "{kind: train, policy: solver, from: score, optimizer: ${optimizer}}"


def weights(tmp_path, name, loop, *more):
    _, checked = spec.preflight([*COMMON, f"loop.main.do={loop}", *more], [], "config", False)
    run = execute(checked, tmp_path / name)
    policy = run.world.live("solver")
    return load_file(run.store.root / "policies" / "solver" / policy.version.id / "model.safetensors"), policy, run


def equal(a, b):
    return a.keys() == b.keys() and all((a[k] == b[k]).all() for k in a)


def test_a_dropped_fork_leaves_weights_moments_and_average_as_they_were(tmp_path):
    plain, policy, _ = weights(tmp_path, "plain", "[rollout,score,train]")
    forked, other, run = weights(tmp_path, "forked", "[rollout,score,{try: {fork: solver, do: [trial]}},train]", f"+stages.trial={TRAIN}")
    assert equal(plain, forked)
    assert equal(policy.averages["ema"].state_dict(), other.averages["ema"].state_dict())
    made = run.world.lineages.versions["solver"]
    assert [v.made_by for v in made.values()][1:] == ["main.0/try/trial", "main.0/train", "main.1/try/trial", "main.1/train"]
    assert made["000002"].parents == ("000000",) and made["000004"].parents == ("000002",)


def test_an_adopted_fork_keeps_the_weights_it_made(tmp_path):
    plain, _, _ = weights(tmp_path, "plain", "[rollout,score,train]")
    adopted, policy, _ = weights(tmp_path, "adopted", "[rollout,score,{try: {fork: solver, adopt: true, do: [train]}}]")
    assert equal(plain, adopted)
    assert policy.version.id == "000002"
