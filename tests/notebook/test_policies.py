"""A loaded policy is the one that acted: it gives the run's own greedy replies and log-probs, version by version."""

from __future__ import annotations

from pathlib import Path

import pytest

import selfevo
from selfevo.errors import StoreError, UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def greedy(trained: selfevo.SavedRun, tmp_path_factory: pytest.TempPathFactory) -> selfevo.SavedRun:
    """A run that only evaluates, greedily, the weights that `trained` ended with."""
    overrides = {
        "model.path": trained.root / "policies/solver/000002", "eval.temperature": 0.0, "eval.samples": 1, "stages.rollout": None,
        "stages.score": None, "stages.train": None, "loop.main": None,
    }  # fmt: skip
    root = tmp_path_factory.mktemp("greedy") / "run"
    return selfevo.run("quickstart", "scale=tiny", overrides, dir=root, show=False)


def test_log_probs_of_every_sampled_token_are_those_the_run_recorded(trained: selfevo.SavedRun) -> None:
    import torch

    for iteration in (0, 1):
        turns = trained.turns("rollout", iteration)
        (version,) = turns["version"].unique()
        assert version == f"solver@00000{iteration}"
        model = trained.policy(version=version.partition("@")[2])
        for turn in turns.itertuples():
            ids = torch.tensor([[*turn.context, *turn.tokens]])
            with torch.no_grad():
                logp = model(ids).logits[0, len(turn.context) - 1 : -1].log_softmax(-1)
            told = logp.gather(1, torch.tensor(turn.tokens)[:, None])[:, 0]
            assert torch.allclose(told, torch.tensor(turn.logprobs, dtype=told.dtype), atol=2e-5)


def test_versions_differ_and_each_is_the_file_that_was_kept(trained: selfevo.SavedRun) -> None:
    import torch
    from safetensors.torch import load_file

    assert list(trained.versions["kept"]) == [True, True, True]
    held = {}
    for number in (1, 2):
        file = load_file(trained.root / f"policies/solver/00000{number}/model.safetensors")
        model = trained.policy("solver", number)
        assert not model.training and all(torch.equal(model.state_dict()[name], tensor) for name, tensor in file.items())
        held[number] = file
    assert any(not torch.equal(held[1][name], held[2][name]) for name in held[1])
    current, base = trained.policy().state_dict(), trained.policy(version="base").state_dict()
    assert all(torch.equal(current[n], t) for n, t in held[2].items()) and any(not torch.equal(base[n], current[n]) for n in base)


def test_the_tokenizer_renders_and_reads_what_the_run_did(trained: selfevo.SavedRun) -> None:
    tokenizer = trained.tokenizer()
    turn = trained.turns("rollout", 0).iloc[0]
    assert tokenizer.decode(turn["tokens"], skip_special_tokens=True) == turn["text"]
    assert trained.trajectories("rollout", 0).iloc[0]["var/question"] in tokenizer.decode(turn["context"])


def test_greedy_replies_are_those_of_the_run(trained: selfevo.SavedRun, greedy: selfevo.SavedRun) -> None:
    import torch

    model, tokenizer = trained.policy(), trained.tokenizer()
    turns = greedy.turns("evaluate")
    assert len(turns) > 4
    for turn in turns.itertuples():
        made = model.generate(torch.tensor([list(turn.context)]), max_new_tokens=len(turn.tokens), do_sample=False)
        assert made[0, len(turn.context) :].tolist() == list(turn.tokens)
        assert tokenizer.decode(turn.tokens, skip_special_tokens=True) == turn.text


def test_a_version_that_was_not_kept_names_those_that_were(tmp_path: Path) -> None:
    run = selfevo.run("quickstart", "scale=tiny", {"checkpoint.every": 2}, dir=tmp_path / "run", show=False)
    assert list(run.versions["kept"]) == [True, False, True]
    with pytest.raises(UserError, match=r"solver@000001: its weights are not on disk; kept: 000000, 000002 \(the spec's") as caught:
        run.policy(version=1)
    assert "\n" not in str(caught.value)
    file = run.root / "policies/solver/000002/config.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(StoreError, match=r"config.json: corrupt; the manifest recorded sha256"):
        run.policy()


def test_an_adapter_comes_back_on_its_base(tmp_path: Path) -> None:
    import torch

    lora = {"model.lora": {"_target_": "selfevo.models.Lora", "rank": 2}, "optimizer.lr": 0.05}
    bonus = "+optimizer.objective.bonus={_target_: selfevo.objectives.Entropy, coef: 0.01}"
    run = selfevo.run("quickstart", "scale=tiny", bonus, lora, dir=tmp_path / "run", show=False)
    turns = run.turns("evaluate", -1)
    model = run.policy(version=2)
    assert sum("lora_" in name for name, _ in model.named_parameters()) > 0
    for turn in turns.head(4).itertuples():
        ids = torch.tensor([[*turn.context, *turn.tokens]])
        with torch.no_grad():
            logp = model(ids).logits[0, len(turn.context) - 1 : -1].log_softmax(-1)
        told = logp.gather(1, torch.tensor(turn.tokens)[:, None])[:, 0]
        assert torch.allclose(told, torch.tensor(turn.logprobs, dtype=told.dtype), atol=2e-5)
