"""Activations: what autograd really keeps, counted tensor by tensor, against the formula."""

from __future__ import annotations

import pytest

from selfevo.planning.activations import CHUNK, Pass, activations, layer, logits
from selfevo.planning.shapes import parse, shape_of

SIZE = {"hidden_size": 256, "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 704, "vocab_size": 64,
        "max_position_embeddings": 4096, "tie_word_embeddings": True, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
FAMILIES = {"qwen3": {"head_dim": 64}, "llama": {"head_dim": 64}, "qwen2": {}, "olmo3": {}, "gemma2": {"head_dim": 64},
            "gemma3_text": {"head_dim": 64}}  # fmt: skip
P, ROWS = 8, 4


def made(family: str, layers: int, dtype: str):
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(family, num_hidden_layers=layers, **SIZE, **FAMILIES[family])
    config._attn_implementation = "sdpa"
    return transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).train(), config


def kept(model, reply: int, padded: bool) -> int:
    """Bytes of distinct storages that the forward pass of a micro-batch keeps, parameters left out."""
    import torch

    from selfevo import passes

    found: dict[int, torch.UntypedStorage] = {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return tensor

    contexts = [tuple(range(2 + i, 2 + i + P)) for i in range(ROWS)]
    responses = [tuple(3 + (i + j) % 50 for j in range(reply)) for i in range(ROWS)]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = (lambda *a: passes._padded(*a, torch.device("cpu")))(model, contexts, responses) if padded else (
            passes.predict(model, contexts, responses))  # fmt: skip
    assert out.logits.requires_grad
    return sum(storage.nbytes() for storage in found.values())


def per_token_and_layer(family: str, dtype: str, padded: bool, adapter: bool = False, checkpointing: bool = False):
    """Measured by differences, so that what is there once (embeddings, masks, copies of weights) drops out; and the shape."""
    bytes_at = {}
    for layers in (1, 3):
        model, config = made(family, layers, dtype)
        if adapter:
            from selfevo.models import Lora

            model = Lora(1).wrap(model).train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        for reply in (97, 193):
            bytes_at[layers, reply] = kept(model, reply, padded)
    slope = (bytes_at[3, 193] - bytes_at[3, 97]) - (bytes_at[1, 193] - bytes_at[1, 97])
    return slope / 2 / (ROWS * 96), parse(config.to_dict(), family)


WIDTH = {"bfloat16": 2, "float32": 4}


@pytest.mark.parametrize("dtype", WIDTH)
@pytest.mark.parametrize("family", ["qwen3", "llama", "qwen2"])
def test_a_stream_keeps_what_the_formula_says(family, dtype):
    measured, shape = per_token_and_layer(family, dtype, padded=False)
    assert layer(shape, Pass(WIDTH[dtype], stream=True)) == pytest.approx(measured, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", WIDTH)
@pytest.mark.parametrize("family", FAMILIES)
def test_modules_of_transformers_keep_what_the_formula_says(family, dtype):
    measured, shape = per_token_and_layer(family, dtype, padded=True)
    assert layer(shape, Pass(WIDTH[dtype], stream=False)) == pytest.approx(measured, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", WIDTH)
@pytest.mark.parametrize("family", ["qwen3", "olmo3", "gemma2"])
def test_modules_under_an_adapter_keep_what_the_formula_says(family, dtype):
    measured, shape = per_token_and_layer(family, dtype, padded=True, adapter=True)
    assert layer(shape, Pass(WIDTH[dtype], stream=False, adapted=tuple(shape.linears))) == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize("padded", [True, False])
def test_recomputed_layers_keep_their_input_alone(padded):
    measured, shape = per_token_and_layer("qwen3", "bfloat16", padded, checkpointing=True)
    assert measured == pytest.approx(2 * shape.hidden, rel=0.03)
    how = Pass(2, stream=not padded, checkpointing=True)
    config = {**SIZE, **FAMILIES["qwen3"], "model_type": "qwen3"}
    one, two = (activations(parse({**config, "num_hidden_layers": n}, "m"), how, 1.0) for n in (1, 2))
    assert two - one == 2 * shape.hidden


def test_logits_and_their_gradient_by_hand():
    shape, how = shape_of("Qwen/Qwen3-4B"), Pass(2, stream=True)
    assert logits(shape, how, 1000) == 2 * 2 * 151936 * 1000 + 12 * CHUNK
    assert logits(shape, how, 10) == (2 * 2 + 12) * 151936 * 10  # a softmax of less than a chunk
    assert logits(shape, how, 1000, whole=True) - logits(shape, how, 1000) == 12 * 151936 * 1000
