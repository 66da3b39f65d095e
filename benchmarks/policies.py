"""Policies of the benchmarks: the bundled one, and larger ones of the same architecture with random weights, built in memory."""

from __future__ import annotations

from typing import Any

SIZES: dict[str, dict[str, int]] = {
    "5M": {"vocab_size": 102, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 8},
    "20M": {"vocab_size": 8192, "hidden_size": 384, "intermediate_size": 1152, "num_hidden_layers": 10, "num_attention_heads": 12},
    "0.6B": {"vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
             "num_key_value_heads": 8, "head_dim": 128},
}  # fmt: skip
"""Sizes of the random models, the last one that of Qwen3-0.6B; where nothing is said, heads are 32 wide and two of them share keys, as in
the bundled policy."""


def policy(size: str, dtype: str = "float32", device: str = "cpu") -> Any:
    """A `LivePolicy` of size "1M" (the bundled weights), or one of `SIZES` (random weights, the bundled tokenizer)."""
    from selfevo.models import Pretrained

    bundled = Pretrained("tiny", dtype=dtype, device=device).load("solver")  # type: ignore[arg-type]
    if size != "1M":
        bundled.model = random_model(size).to(device, bundled.model.dtype)
    return bundled


def random_model(size: str) -> Any:
    """Qwen3 with weights drawn from a fixed seed."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes = {"num_key_value_heads": SIZES[size]["num_attention_heads"] // 2, "head_dim": 32, **SIZES[size]}
    config = Qwen3Config(
        **sizes, max_position_embeddings=1024,
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Qwen3ForCausalLM(config).eval()


def parameters(model: Any) -> int:
    """How many numbers a model holds; tied ones count once."""
    return sum(p.numel() for p in model.parameters())
