"""Whose weights vLLM computes with: those of the policy it was given last, at its present version."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vllm_checks import agree, contexts, drawn, forward, moved

from selfevo.engines.vllm_weights import tensors
from selfevo.errors import EngineError, UserError
from selfevo.models import Lora, Pretrained
from selfevo.protocols import Sampling, ScoreRequest

pytestmark = pytest.mark.scale
MODES = pytest.mark.parametrize("mode", ["in-process", "server"])
LONG = contexts(4, seed=5, shortest=300, longest=400)
"""Longer than the blocks in which vLLM caches prefixes (128 on a CPU): what it remembers of them must go with the weights."""


@pytest.fixture
def adapted():
    """The bundled policy under an adapter that is not zero."""
    policy = Pretrained("tiny", lora=Lora(rank=8)).load("solver")
    moved(policy, by=0.0)
    with_noise(policy)
    return policy


def with_noise(policy, seed=3):
    """Adapters start at B = 0; here they are anything."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in policy.model.named_parameters():
            if "lora_B" in name:
                p.copy_(torch.randn(p.shape, generator=generator) * 0.05)
    policy.version = replace(policy.version, id=f"{int(policy.version.id) + 1:06d}")


@MODES
@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_log_probs_of_sampled_tokens_are_those_of_a_forward_pass(running, tiny, mode, temperature):
    engine = running(mode)
    engine.load(tiny)
    asked = contexts()
    agree(tiny, asked, drawn(engine, asked, Sampling(24, temperature)), temperature or 1.0)


@MODES
def test_after_an_update_in_place_log_probs_are_those_of_the_new_weights_and_not_of_the_old(running, tiny, mode):
    engine, policy = running(mode), tiny.fork()
    engine.load(policy)
    before = drawn(engine, LONG)
    agree(policy, LONG, before)
    moved(policy)
    engine.load(policy)
    after = drawn(engine, LONG)
    agree(policy, LONG, after)
    old = [forward(tiny, context, reply.tokens) for context, reply in zip(LONG, after, strict=True)]
    assert max(np.abs(np.array(reply.logprobs) - o).max() for reply, o in zip(after, old, strict=True)) > 0.05


@MODES
def test_a_version_that_is_not_new_hands_nothing_over(running, tiny, mode):
    engine, policy = running(mode), tiny.fork()
    engine.load(policy)
    version = policy.version
    moved(policy)
    policy.version = version
    engine.load(policy)
    agree(tiny, LONG, drawn(engine, LONG))


def test_forks_frozen_copies_and_averages_are_known_by_their_model_although_the_version_is_the_same(engine, tiny):
    fork = tiny.fork()
    moved(fork, seed=2)
    fork.version = tiny.version
    frozen = fork.clone_frozen()
    average = replace(tiny, model=copy.deepcopy(fork.model), averages={}, frozen=True)
    moved(average, seed=4)
    average.version = tiny.version
    for policy in (tiny, fork, average, frozen, tiny):
        engine.load(policy)
        agree(policy, LONG, drawn(engine, LONG))


def test_a_copy_that_takes_the_place_of_one_that_is_gone_is_not_taken_for_it(engine, tiny):
    for seed in range(4):  # the new copy may well lie at the same address
        fork = tiny.fork()
        moved(fork, seed=seed)
        fork.version = tiny.version
        engine.load(fork)
        agree(fork, LONG[:1], drawn(engine, LONG[:1]))
        del fork


def test_the_policy_itself_is_not_touched_by_handing_it_over(engine, adapted):
    before = {name: p.clone() for name, p in adapted.model.state_dict().items()}
    engine.load(adapted)
    assert all((p == before[name]).all() for name, p in adapted.model.state_dict().items())


@MODES
def test_an_adapter_is_served_folded_in_before_and_after_an_update(running, adapted, mode):
    engine = running(mode)
    for seed in (3, 4):
        with_noise(adapted, seed)
        engine.load(adapted)
        agree(adapted, LONG, drawn(engine, LONG))


@MODES
def test_an_adapter_beside_its_base_is_served_before_and_after_an_update(start, tiny, adapted, mode):
    engine, twin = start(mode=mode, lora_rank=8), adapted.fork()
    with_noise(twin, 9)
    for policy in (adapted, twin, adapted):
        engine.load(policy)
        agree(policy, LONG, drawn(engine, LONG))
    with_noise(adapted, 4)
    engine.load(adapted)
    agree(adapted, LONG, drawn(engine, LONG))
    engine.load(tiny)
    agree(tiny, LONG, drawn(engine, LONG))
    with pytest.raises(EngineError, match=r"LoRA rank 16 is greater than engine\.lora_rank 8") as error:
        engine.load(Pretrained("tiny", lora=Lora(rank=16)).load("solver"))
    assert "\n" not in str(error.value)
    engine.load(twin)
    agree(twin, LONG, drawn(engine, LONG))


def test_a_compiled_model_takes_new_weights_too_and_so_does_an_output_layer_of_its_own(start, tmp_path):
    policy = untied(tmp_path)
    engine = start(eager=False)
    engine.load(policy)
    agree(policy, LONG, drawn(engine, LONG))
    moved(policy)
    engine.load(policy)
    agree(policy, LONG, drawn(engine, LONG))


@pytest.mark.parametrize("family", ["Qwen3Moe", "Gemma2", "Llama"])
def test_other_families_take_new_weights_too(start, tmp_path, family):
    """A mixture's experts have other names in memory than in a checkpoint; Gemma scales embeddings and caps logits; Llama ties nothing."""
    policy, asked = random_policy(tmp_path, family), [c[:250] for c in LONG]
    engine = start()
    for seed in range(3):
        engine.load(policy)
        agree(policy, asked, drawn(engine, asked))
        moved(policy, seed=seed)


def test_an_adapter_of_another_kind_goes_over_through_a_folder(engine, tiny):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "down_proj"], use_dora=True)
    policy = replace(tiny, model=get_peft_model(copy.deepcopy(tiny.model), config))
    assert tensors(policy) is None
    for seed in (1, 2):
        with_noise(policy, seed)
        engine.load(policy)
        agree(policy, LONG, drawn(engine, LONG))


def random_policy(path: Path, family: str):
    """A small random model of a family with the bundled policy's tokenizer."""
    import torch
    import transformers

    sizes = {
        "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 32, "max_position_embeddings": 512, "vocab_size": 102, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    extra = {"Qwen3Moe": {"moe_intermediate_size": 128, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True}}
    config = getattr(transformers, f"{family}Config")(**sizes, **extra.get(family, {}))
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" not in name:
                p.normal_(0.0, 0.05)
    source = Pretrained("tiny").load("solver").to_transformers()
    replace(source, model=model).save(path)
    return Pretrained(str(path), attn="eager").load("solver")


def test_a_policy_of_another_architecture_is_refused_and_the_engine_stays_usable(engine, tiny, tmp_path):
    with pytest.raises(UserError, match=r"another architecture .* `engines`"):
        engine.load(untied(tmp_path))
    engine.load(tiny)
    agree(tiny, LONG, drawn(engine, LONG))


def untied(path: Path):
    """The bundled policy with an output layer that is no longer its embedding."""
    import torch
    from transformers import AutoModelForCausalLM

    source = Pretrained("tiny").load("solver").to_transformers()
    config = copy.deepcopy(source.model.config)
    config.tie_word_embeddings = False
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(source.model.state_dict())
    with torch.no_grad():
        model.lm_head.weight.mul_(1.1)
    replace(source, model=model).save(path)
    return Pretrained(str(path)).load("solver")


def test_no_folder_is_left_behind_once_weights_are_handed_over(running, tiny, scratch):
    engine, policy = running("server"), tiny.fork()
    engine.load(policy)
    moved(policy)
    engine.load(policy)
    kept = {p.name for p in scratch.iterdir()}
    moved(policy)
    engine.load(policy)
    assert {p.name for p in scratch.iterdir()} == kept
    assert not [p for folder in scratch.iterdir() for p in folder.rglob("*.safetensors")]


def test_in_float32_two_handings_over_of_the_same_weights_score_alike(engine, tiny):
    request = ScoreRequest(LONG[0][:-20], LONG[0][-20:])
    engine.load(tiny)
    first = engine.score([request])[0].logprobs
    engine.load(tiny.fork())
    engine.load(tiny)
    np.testing.assert_array_equal(engine.score([request])[0].logprobs, first)
