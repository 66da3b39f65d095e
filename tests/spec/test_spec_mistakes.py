"""Mistakes in overrides and configs: each is one line that names the key, what was expected and the nearest valid choice."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfevo import spec
from selfevo.errors import EXIT_USER, SpecErrors

SIZES = "(valid: eval_every, eval_samples, eval_tasks, group, iterations, kept, max_tokens, staleness, tasks)"


def mistakes(*overrides: str, config_dir: Path | None = None) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        spec.read(overrides, [str(config_dir)] if config_dir else [])
    assert caught.value.exit_code == EXIT_USER
    assert all("\n" not in line and "append" not in line.lower() for line in caught.value.lines)
    return caught.value.lines


@pytest.mark.parametrize("override, line", [
    ("scale.iteratons=3", f"scale.iteratons: unknown key; did you mean 'iterations'? {SIZES}"),
    ("+scale.iteratons=3", f"scale.iteratons: unknown key; did you mean 'iterations'? {SIZES}"),
    ("optimizer=grpoo", "optimizer: no choice 'grpoo'; did you mean 'grpo'?"),
    ("+experiment=quikstart", "experiment: no choice 'quikstart'; did you mean 'quickstart'?"),
    ("experimnt=quickstart", "experimnt: unknown key; did you mean 'experiment'?"),
    ("+typo=1", "typo: unknown key"),
    ("optimzer.lr=1", "optimzer: unknown key; did you mean 'optimizer'?"),
    ("optimizer.clip_nrom=1", "optimizer.clip_nrom: unknown key; did you mean 'clip_norm'?"),
    ("optimizer.lr=fast", "optimizer.lr: expected a number (or one that varies: {linear: [a, b]}, {cosine: [a, b]}, {metric: name}), got"),
    ("seed=abc", "seed: expected a whole number, got 'abc'"),
    ("seed=null", "seed: expected a whole number, got null"),
    ("rollout._target_=selfevo.rollouts.Singel", "rollout._target_: 'selfevo.rollouts' has no 'Singel'; did you mean 'Single'?"),
    ("roles.slover.prompt=solve", "roles.slover: unknown key; did you mean 'solver'? (valid: solver)"),
    ("roles.solver.temprature=1", "roles.solver.temprature: unknown key; did you mean 'temperature'?"),
    ("roles.solver.prompt=slove", "roles.solver.prompt: no prompt is named 'slove'; did you mean 'solve'?"),
    ("roles.solver.policy=solver@bsae", "roles.solver.policy: solver has no version 'bsae'; did you mean 'base'?"),
    ("roles.solver.engine=judge", "roles.solver.engine: no engine is named 'judge'"),
    ("roles.solver.memories=[skills]", "roles.solver.memories: no memory is named 'skills'"),
    ("roles.solver.top_p=2", "roles.solver: top_p must be in (0, 1], not 2.0"),
    ("stages.train.kind=trian", "stages.train.kind: unknown kind 'trian'; did you mean 'train'? (valid: evaluate, rollout, score, tr"),
    ("stages.score.of=rolout", "stages.score.of: no stage is named 'rolout'; did you mean 'rollout'? (valid: evaluate, rollout,"),
    ("stages.score.of=mian/rollout", "stages.score.of: no block of the loop is named 'mian'; did you mean 'main'?"),
    ("stages.train.policy=slover", "stages.train.policy: no policy is named 'slover'; did you mean 'solver'? (valid: solver)"),
    ("stages.rollout.tasks=curiculum", "stages.rollout.tasks: no task source or curriculum is named 'curiculum'; did you mean 'cur"),
    ("stages.rollout.role=slover", "stages.rollout.role: no role is named 'slover'; did you mean 'solver'? (valid: solver)"),
    ("stages.train.memory=skills", "stages.train: a train stage trains either a `policy` or a `memory`: give exactly one of them"),
    ("stages.train.optimizer.lr=1", "stages.train.optimizer.lr: stages.train.optimizer is ${optimizer}; set optimizer.lr instead"),
    ("stages.rollout.n=few", "stages.rollout.n: expected a whole number or null, got 'few'"),
    ("loop.main.do=[rolout]", "loop.main.do: no stage is named 'rolout'; did you mean 'rollout'?"),
    ("loop.main.repat=3", "loop.main.repat: unknown key; did you mean 'repeat'?"),
    ("checkpoint.evry=2", "checkpoint.evry: unknown key; did you mean 'every'? (valid: every, keep)"),
    ("checkpoint.every=0", "checkpoint: every and keep must be 1 or more, not 0 and 3"),
    ("prompts.solve='{question'", "prompts.solve: not a template: expected '}' before end of string (write {{ and }} for braces)"),
    ("+tracker.wb=true", "tracker.wb: expected a component (a mapping with _target_), got true"),
    ("policies.solver=tiny", "policies.solver: expected a component (a mapping with _target_), got 'tiny'"),
    ("seed=1,2", "seed: several values (1,2) are a sweep, which needs -m"),
    ("optimizer.lr", "optimizer.lr: expected key=value"),
    ("~stages.evaluat", "stages.evaluat: unknown key; did you mean 'evaluate'? (valid: evaluate, rollout, score, train)"),
    ("modle@policies.judge=tiny", "modle: no such config group; did you mean 'model'?"),
    ("scale.group=${scale.goup}", "scale.group: ${scale.goup} points to nothing: scale has no 'goup'; did you mean 'group'?"),
    ("model.path=???", "model.path: required, but not given"),
])
def test_a_mistake_on_the_command_line_is_one_line_that_names_the_nearest_choice(override: str, line: str) -> None:
    found = mistakes(override)
    assert found[0].startswith(line)


def test_all_mistakes_are_reported_at_once() -> None:
    found = mistakes("scale.iteratons=3", "seed=abc", "roles.solver.temprature=1", "stages.score.of=rolout")
    assert len(found) == 4
    assert {line.partition(":")[0] for line in found} == {"scale.iteratons", "seed", "roles.solver.temprature", "stages.score.of"}


def test_a_mistake_in_a_shared_node_is_reported_once_where_it_is_written() -> None:
    assert len(mistakes("optimizer.clip_nrom=1")) == 1


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "experiment").mkdir()
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "experiment" / "mine.yaml").write_text("# @package _global_\n# An experiment of a test.\n" + text)


@pytest.mark.parametrize("text, line", [
    ("optimizer:\n  clip_nrom: 2\n", "optimizer.clip_nrom: unknown key; did you mean 'clip_norm'?"),
    ("sede: 3\n", "sede: unknown key; did you mean 'seed'?"),
    ("stages:\n  rollout:\n    on: 3\n", "stages.rollout.true: YAML reads the key on, yes or true as true, not as text; use another name"),
    ("roles:\n  solver: {prompt: '${prompt.solve}'}\n", "roles.solver.prompt: ${prompt.solve} points to nothing: the spec has no"),
    ("stages:\n  extra: {kind: score, of: rollout, verifier: '${verifier}'}\n", "stages.extra: no block of the loop runs this stage"),
    ("scale: {rounds: 3}\n", "scale.rounds: unknown key"),
    ("stages:\n  train: {from: [score, regrade]}\n", "stages.train.from: no stage is named 'regrade'"),
])
def test_a_mistake_in_a_file_names_the_file_and_line(mine: Path, text: str, line: str) -> None:
    write(mine, text)
    found = mistakes("experiment=mine", config_dir=mine)
    assert found[0].startswith(line)
    assert any(f"experiment/mine.yaml:{n}]" in found[0] for n in (3, 4, 5))


def test_a_size_of_ones_own_is_known_once_something_reads_it(mine: Path) -> None:
    write(mine, "scale: {rounds: 3}\nloop: {main: {repeat: '${scale.rounds}'}}\n")
    assert spec.read(["experiment=mine"], [str(mine)]).loop.do[1].repeat == 3  # type: ignore[union-attr]


def test_an_extra_source_is_known_once_a_stage_names_it(mine: Path) -> None:
    write(mine, "defaults:\n  - /task@probes: sorting\n  - _self_\n")
    assert mistakes("experiment=mine", config_dir=mine)[0].startswith("probes: unknown key")
    write(mine, "defaults:\n  - /task@probes: sorting\n  - _self_\nstages: {rollout: {tasks: probes}}\n")
    assert "probes" in spec.read(["experiment=mine"], [str(mine)]).sources


def test_a_config_folder_that_does_not_exist_is_named() -> None:
    from selfevo.errors import UserError

    with pytest.raises(UserError, match="--config-dir nowhere: no such folder"):
        spec.read([], ["nowhere"])
