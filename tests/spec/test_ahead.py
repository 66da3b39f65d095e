"""What stands in the way of a rollout that runs ahead is one line before a start; what does not, is not refused."""

import pytest

from selfevo import spec
from selfevo.errors import SpecErrors
from selfevo.loop import parse

STAGES = ["rollout", "score", "train", "evaluate"]
LATE = "{kind: score, of: rollout, verifier: ${verifier}, update: [curriculum]}"


def mistakes(*overrides):
    with pytest.raises(SpecErrors) as caught:
        spec.read(["scale.staleness=1", *overrides])
    assert all("\n" not in line for line in caught.value.lines)
    return caught.value.lines


@pytest.mark.parametrize("optimizer", ["grpo", "dapo", "dr_grpo", "cispo", "gspo", "reinforce_pp"])
def test_objectives_with_a_ratio_to_the_sampler_may_learn_from_old_rows(optimizer):
    assert spec.read(["scale.staleness=1", f"optimizer={optimizer}"]).loop.do[1].ahead == "rollout"


@pytest.mark.parametrize(
    ("optimizer", "cure", "key"),
    [
        ("reinforce", "+optimizer.objective.pg.truncate=2.0", "set truncate: 2.0, or"),
        ("rloo", "+optimizer.objective.pg.truncate=2.0", "set truncate: 2.0, or"),
        ("ppo", "optimizer.objective.pg.old=sampler", "set old: sampler or truncate: 2.0, or"),
        ("ppo", "+optimizer.objective.pg.truncate=2.0", "set old: sampler or truncate: 2.0, or"),
    ],
)
def test_an_objective_without_one_is_refused_and_what_the_line_says_cures_it(optimizer, cure, key):
    (line,) = mistakes(f"optimizer={optimizer}")
    assert line.startswith("optimizer.objective.pg: 'rollout' runs ahead") and key in line
    spec.read(["scale.staleness=1", f"optimizer={optimizer}", cure])


@pytest.mark.parametrize(("optimizer", "path"), [("rejection_sft", "optimizer.objective: "), ("trl/sft", "optimizer: ")])
def test_an_objective_that_knows_no_ratio_at_all_is_refused(optimizer, path):
    (line,) = mistakes(f"optimizer={optimizer}")
    assert line.startswith(path) and "no term has a ratio to the sampler's log-probs" in line


def test_a_training_that_never_sees_the_early_rows_needs_no_ratio():
    """Its rows are of the `data` stage, which runs in time."""
    data = "{kind: rollout, role: solver, tasks: task, n: 2}"
    loop = "[rollout,score,data,graded,train,fit]"
    graded = "{kind: score, of: data, verifier: ${verifier}}"
    fit = "{kind: train, policy: solver, from: graded, optimizer: {_target_: selfevo.learner.Learner, samples: ${optimizer.samples}, \
objective: {nll: {_target_: selfevo.objectives.NLL}}}}"
    stages = [f"+stages.data={data}", f"+stages.graded={graded}", f"+stages.fit={fit}", "stages.evaluate=null", "loop.start=null"]
    spec.read(["scale.staleness=1", *stages, f"loop.main.do={loop}"])
    (line,) = mistakes(*stages, f"loop.main.do={loop}", "+stages.fit.using=[]", "stages.fit.from=score")
    assert line.startswith("stages.fit.optimizer.objective: ")


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["scale.staleness=2"], "scale.staleness: expected 0 (no overlap) or 1 (one iteration ahead), got 2"),
        (["loop=filled", "verifier=dapo"], "scale.staleness: 'rollout' cannot run ahead here: only the first stage of a block that has"),
        (["loop.main.do=[evaluate,rollout,score,train]"], "scale.staleness: 'rollout' cannot run ahead here"),
        (["+loop.main.fork=[solver]"], "scale.staleness: 'rollout' cannot run ahead here"),
        (["loop.main.repeat=null", "+loop.main.until={metric: rollout/reward, at_least: 1}", "+loop.main.max=3"],
         "scale.staleness: 'rollout' cannot run ahead here"),
        (["loop.main.do=[rollout,score,{try: {fork: solver, do: [train]}},evaluate]"],
         "scale.staleness: neither inside nor around a block with `fork` or another `ahead` can a rollout run ahead"),
        (["stages.train=null", "loop.main.do=[rollout,score,evaluate]"],
         "scale.staleness: no stage of this block trains weights, so a rollout has nothing to run beside"),
        (["stages.rollout.tasks={follow: score}", "~stages.rollout.n"],
         "scale.staleness: its tasks come from rows that its own iteration has yet to make"),
        ([f"+stages.late={LATE}", "loop.main.do=[rollout,score,train,late,evaluate]"],
         "scale.staleness: 'late' draws from 'curriculum' or updates it after 'rollout' has drawn ahead; place it before the training"),
        (["stages.rollout.every=2"], "scale.staleness: 'rollout' does not run in each iteration (every: 2), as one that runs ahead must"),
        (["roles.solver.policy=solver@ema"], "scale.staleness: role 'solver' samples from a running average"),
        (["launcher=torchrun", "launcher.processes=2"], "scale.staleness: 2 ranks answer together for the engine that would sample ahead"),
        (["loop=supervised", "optimizer=sft"], "scale.staleness: no block of this loop says `ahead`, so no rollout can run ahead; use 0"),
        (["loop.main.ahead={rolout: 1}"], "loop.main.ahead.rolout: no stage of this block is named 'rolout'; did you mean 'rollout'?"),
        (["loop.main.ahead={rollout: 1, score: 1}"], "loop.main.ahead: one stage of a block can run ahead, not rollout and score"),
        (["loop.main.ahead=rollout"], "loop.main.ahead: expected {stage: 1}, or 0 for none, got 'rollout'"),
        (["loop.main.do=[score,rollout,train,evaluate]", "loop.main.ahead={rollout: 0, score: 1}"],
         "loop.main.ahead.score: only a rollout can run ahead, and 'score' is of kind score"),
    ],
)  # fmt: skip
def test_what_cannot_run_ahead_is_refused_in_one_line(overrides, line):
    assert mistakes(*overrides)[0].startswith(line)


def test_updates_before_the_training_are_in_time():
    spec.read(["scale.staleness=1", f"+stages.late={LATE}", "loop.main.do=[rollout,score,late,train,evaluate]"])


@pytest.mark.parametrize("loop", ["online", "filled"])
def test_0_asks_for_nothing(loop):
    """Not even that a rollout could run ahead in this loop, or that the objective has a ratio."""
    checked = spec.read([f"loop={loop}", "optimizer=reinforce"])
    assert [block.ahead for block in checked.loop.do if not isinstance(block, str)] == ["", ""]


def test_nested_blocks_may_each_say_whose_rollout_runs_ahead():
    inner = {"repeat": 2, "do": ["rollout", "score", "train"], "ahead": {"rollout": 1}}
    root, errors = parse({"round": {"repeat": 2, "do": {"learn": inner, "evaluate": None}}}, STAGES)
    assert errors == [] and root.do[0].ahead == "" and root.do[0].do[0].ahead == "rollout"
