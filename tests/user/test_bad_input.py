"""Bad input as a user meets it: one clear line on stderr, exit status 2, and nothing is started that could not end well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from as_user import BARE, TINY, Said

Say = Callable[..., Said]


@pytest.mark.parametrize("overrides, line", [
    (["optimizer.clip_nrom=1"], "optimizer.clip_nrom: unknown key; did you mean 'clip_norm'?"),
    (["scale.group=many"], "scale.group: expected a whole number, got 'many'"),
    (["optimizer.lr=inf"], "optimizer: Learner: lr is inf, expected a finite number of at least 0"),
    (["optimizer.lr=-1"], "optimizer: Learner: lr is -1.0, expected a finite number of at least 0"),
    (["optimizer=ppo", "optimizer.value_head=false"], "optimizer: objective.value: ValueLoss needs a critic: set value_head: true"),
    (
        ["engine=scripted", "engine.replies=[a]"],
        "optimizer.objective.pg: reads the sampler's log-probs, but the engine that plays 'solver' gives none; use engine=native",
    ),
    (
        ["model=scripted", "engine=scripted", "engine.replies=[a]"],
        "stages.train.policy: policy 'solver' (selfevo.models.Scripted) has no weights to train; use a model that has some (model=tiny)",
    ),
    (
        ["model=scripted", "stages.train=null", "loop.main.do=[rollout,score,evaluate]"],
        "roles.solver: policy 'solver' (selfevo.models.Scripted) has no weights, and engine selfevo.engines.Native needs them",
    ),
])
def test_a_mistake_in_the_spec_starts_nothing(say: Say, tmp_path: Path, overrides: list[str], line: str) -> None:
    said = say("run", *TINY, *overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert (said.status, said.out) == (2, "")
    assert said.line.startswith(line)
    assert not (tmp_path / "run").exists()


def test_terms_that_need_no_sampler_may_train_on_scripted_replies(say: Say) -> None:
    overrides = ["engine=scripted", "engine.replies=[a]", "optimizer.objective.pg.old=old"]
    assert say("validate", *TINY, *overrides).status == 0
    assert say("validate", *TINY, "engine=scripted", "engine.replies=[a]", "optimizer=rejection_sft").status == 0


@pytest.mark.parametrize("model, line", [
    ("model.path=./tiny-model", "model './tiny-model': no such folder"),
    ("model.path=tinny", "model 'tinny': no such folder, and not a hub id (owner/name); did you mean 'tiny'?"),
    ("model.path=nobody/no-such-model", "model 'nobody/no-such-model': not downloaded and not to be had from the Hub"),
])
def test_a_model_that_is_not_there_is_named_with_one_that_is(say: Say, tmp_path: Path, model: str, line: str) -> None:
    said = say("run", *TINY, model, f"hydra.run.dir={tmp_path / 'run'}")
    assert said.status == 2
    assert said.line.startswith(line) and "tiny" in said.line.removeprefix(line[:20])
    assert "once its cause is gone, continue with: selfevo resume" in said.out


GOOD = {"question": "2+2=?", "answer": "4"}


@pytest.mark.parametrize("text, line", [
    (None, "dataset file '{file}' does not exist"),
    ("", "dataset '{file}' (split train) is empty"),
    ("2+2=4\n", "{file}:1: not a JSON object on one line"),
    (json.dumps(GOOD) + '\n["2+2=?", "4"]\n', "{file}:2: expected a JSON object, found list"),
    ('{"questions": "2+2=?", "answer": "4"}\n', "{file}:1: no field 'question'; did you mean 'questions'? (valid: answer, questions)"),
    (json.dumps(GOOD) + '\n{"question": null, "answer": "4"}\n', "dataset '{file}': row 1 has null in field 'question', which prompts"),
])
def test_data_that_cannot_be_used_is_met_before_the_model_loads(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, line: str
) -> None:
    from selfevo.models import Pretrained

    def too_late(self: Pretrained, name: str) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(Pretrained, "load", too_late)
    file = tmp_path / "my.jsonl"
    if text is not None:
        file.write_text(text)
    said = say("run", *TINY, "task=jsonl", "eval=chain_sum", f"task.path={file}", f"hydra.run.dir={tmp_path / 'run'}")
    assert said.status == 2
    assert said.line.startswith(line.format(file=file))


def test_a_prompt_longer_than_the_context_names_its_task(say: Say, tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"question": "1+" * 3000 + "1=?", "answer": "3001"}) + "\n")
    run = ["task=jsonl", "eval=chain_sum", f"task.path={file}", f"hydra.run.dir={tmp_path / 'run'}"]
    said = say("run", *TINY, *run, "scale.tasks=1", "scale.eval_tasks=1", "scale.eval_samples=1")
    assert said.status == 2
    assert "('1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+...'): a context of" in said.line and "leaves no room for a reply" in said.line


@pytest.mark.parametrize("overrides, line", [
    (["optimizer.advantage.outcome.reward=exat"], "advantage 'outcome': trajectory main.0/rollout/00000-00000.0 has no reward 'exat'; did"),
    (["optimizer=rejection_sft", "optimizer.samples.kept.reward=exat"], "samples.Kept: no row has a reward 'exat'; did you mean 'exact'?"),
    (["optimizer.objective.pg.advantage=outcom"], "sample main.0/rollout/00000-00000.0 has no column 'outcom'; did you mean 'outcome'?"),
])
def test_a_reward_or_column_that_nothing_gives_is_no_silent_zero(say: Say, tmp_path: Path, overrides: list[str], line: str) -> None:
    said = say("run", *TINY, *overrides, "scale.eval_tasks=1", "scale.eval_samples=1", f"hydra.run.dir={tmp_path / 'run'}")
    assert said.status == 2
    assert said.line.startswith(line)


@pytest.mark.parametrize("place, why", [("file", "File exists"), ("file/below", "Not a directory")])
def test_a_run_directory_that_cannot_be_made_is_named(say: Say, tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "file").write_text("kept")
    said = say("run", *TINY, f"hydra.run.dir={tmp_path / place}")
    assert said.status == 2
    assert said.line == f"{tmp_path / place}: the run directory cannot be made ({why}); choose another with hydra.run.dir=DIR"
    assert (tmp_path / "file").read_text() == "kept"


def test_a_mapping_given_whole_runs_as_it_was_validated(say: Say, tmp_path: Path) -> None:
    whole = [*BARE, "verifier={length: {_target_: selfevo.verifiers.Format, pattern: '#'}}", "scale.iterations=1"]
    assert say("validate", *whole).status == 0
    said = say("run", *whole, f"hydra.run.dir={tmp_path / 'run'}")
    assert (said.status, said.err) == (0, "")
    assert "score/length" in (tmp_path / "run" / "metrics.jsonl").read_text()
