"""Every architecture that configs/model names goes through a whole run, and what the run writes opens elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from real_runs import weights

from selfevo.engines import Native
from selfevo.models import Pretrained
from selfevo.policies import text_model
from selfevo.protocols import GenerateRequest, Sampling
from selfevo.records import Message

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs/model"
FAMILIES = {
    "Qwen/Qwen3-": "Qwen3",
    "Qwen/Qwen2.5-": "Qwen2",
    "meta-llama/Llama-3": "Llama",
    "google/gemma-2-": "Gemma2",
    "google/gemma-3-1b": "Gemma3Text",  # the larger ones also see pictures and are of another class
    "allenai/Olmo-3-": "Olmo3",
}
CHOSEN = {
    "qwen3_0.6b": "Qwen3",
    "qwen2.5_0.5b_instruct": "Qwen2",
    "llama3_1b": "Llama",
    "gemma2_2b": "Gemma2",
    "gemma3_1b": "Gemma3Text",
    "olmo3_7b": "Olmo3",
}
"""One config of each family."""


def family_of(path: str) -> str | None:
    return next((family for start, family in FAMILIES.items() if path.startswith(start)), None)


def test_every_model_config_is_of_a_family_that_is_run_here():
    paths = {f.stem: yaml.safe_load(f.read_text()).get("path") for f in CONFIGS.glob("*.yaml")}
    known = {stem: family_of(path) for stem, path in paths.items() if path not in (None, "tiny")}
    assert [stem for stem, family in known.items() if family is None] == []
    assert {known[stem] for stem in CHOSEN} == set(known.values()) == set(CHOSEN.values())
    assert all(known[stem] == family for stem, family in CHOSEN.items())


def questions(policy):
    return [policy.codec.open([Message("user", text)]) for text in ("1+2=?", "Say something, please.")]


def native(policy, length=12):
    """Greedy ids of the native engine."""
    engine = Native()
    engine.load(policy)
    return [list(c.tokens) for c in engine.generate([GenerateRequest(q, 0, Sampling(length, temperature=0.0)) for q in questions(policy)])]


def plain(model, policy, length=12):
    """Greedy ids of transformers' own loop."""
    out = []
    for question in questions(policy):
        ids = torch.tensor([question])
        settings = {"do_sample": False, "max_new_tokens": length, "pad_token_id": policy.tokenizer.pad_token_id}
        out.append(model.generate(ids, attention_mask=torch.ones_like(ids), **settings)[0, len(question) :].tolist())
    return out


@pytest.mark.parametrize("config, family", CHOSEN.items())
def test_a_config_trains_as_it_is_in_bfloat16(grpo, checkpoint, config, family):
    run = grpo(config, family)
    policy = run.run.world.policies["solver"]
    assert type(text_model(policy.model)).__name__ == f"{family.removesuffix('Text')}ForCausalLM"
    assert policy.model.dtype == torch.bfloat16
    before, after = weights(checkpoint(family) / "model.safetensors"), run.tensors()
    moved = sum(not torch.equal(before[name], after[name]) for name in before)
    assert moved > len(before) / 2
    assert run.metric("train", "train/steps") == [1]
    # what the learner computes and what the sampler computed differ by the rounding of bfloat16 alone
    assert run.metric("train", "train/sampler_gap")[0] < 0.05


@pytest.mark.parametrize("config, family", CHOSEN.items())
def test_the_policy_folder_opens_in_transformers_and_says_the_same(grpo, config, family):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = grpo(config, family, "model.dtype=float32")
    policy = run.run.world.policies["solver"]
    assert run.metric("train", "train/sampler_gap")[0] < 1e-5
    attn = "eager" if family == "Gemma2" else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(run.policy, attn_implementation=attn, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(run.policy, local_files_only=True)
    assert type(model) is type(text_model(policy.model)) and model.dtype == torch.float32
    ids = native(policy)
    assert plain(model, policy) == ids
    chat = [{"role": "user", "content": "1+2=?"}]
    assert tuple(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)) == questions(policy)[0]
    assert [tokenizer.decode(i, skip_special_tokens=True) for i in ids] == [policy.codec.decode(i) for i in ids]


def test_with_lora_only_the_adapter_moves_and_only_the_adapter_is_written(grpo, checkpoint):
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    base = checkpoint("Qwen3")
    before = weights(base / "model.safetensors")
    run = grpo("qwen3_0.6b", "Qwen3", "model.dtype=float32", "+model.lora={_target_: selfevo.models.Lora, rank: 4}")
    policy = run.run.world.policies["solver"]
    assert not list(run.policy.glob("model*.safetensors"))
    adapter = run.tensors("adapter_model.safetensors")
    assert {name.rsplit(".", 2)[-2] for name in adapter} == {"lora_A", "lora_B"}
    assert all(bool((tensor != 0).any()) for name, tensor in adapter.items() if "lora_B" in name)  # they begin at zero
    inside = {n.removeprefix("base_model.model.").replace(".base_layer", ""): t for n, t in policy.model.state_dict().items()}
    assert all(torch.equal(inside[name], tensor) for name, tensor in before.items() if name in inside)
    assert len(set(before) & set(inside)) == len(before)

    ids = native(policy)
    for opened in (AutoPeftModelForCausalLM, AutoModelForCausalLM):  # transformers finds the base through the adapter's config
        assert plain(opened.from_pretrained(run.policy), policy) == ids
    assert plain(AutoModelForCausalLM.from_pretrained(base), policy) != ids


def test_a_written_policy_is_a_model_for_the_next_run(grpo):
    first = grpo("qwen3_0.6b", "Qwen3", "model.dtype=float32")
    again = Pretrained(str(first.policy)).load("solver")
    assert native(again) == native(first.run.world.policies["solver"])
