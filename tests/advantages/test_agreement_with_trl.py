"""One real step of TRL's GRPO and RLOO trainers on a tiny policy: their advantages are ours, to 1e-6."""

from __future__ import annotations

import pytest

from selfevo.advantages import GroupNorm, LeaveOneOut, Whiten

pytest.importorskip("trl")
pytestmark = pytest.mark.slow  # importing TRL takes most of it

REWARDS = [0.1, 0.9, 0.3, 0.3, 1.0, 0.0, 0.0, 0.0]
"""Two groups of four."""


@pytest.fixture(scope="module")
def policy():
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2, "one": 3, "two": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    return Qwen2ForCausalLM(config), fast


def advantages_of(trainer_class, config_class, policy, folder, **settings):
    from datasets import Dataset

    model, tokenizer = policy
    args = config_class(
        output_dir=str(folder), num_generations=4, per_device_train_batch_size=8, max_completion_length=2, max_steps=1, report_to=[],
        use_cpu=True, bf16=False, save_strategy="no", logging_strategy="no", disable_tqdm=True, **settings,
    )  # fmt: skip
    prompts = Dataset.from_list([{"prompt": "one"}, {"prompt": "two"}])
    trainer = trainer_class(
        model=model, reward_funcs=lambda completions, **_: REWARDS, args=args, train_dataset=prompts, processing_class=tokenizer
    )
    trainer.train()
    return list(trainer._logs["advantages"])


@pytest.mark.parametrize(
    "scale, ours",
    [
        ("group", GroupNorm(std="sample", eps=1e-4)),
        ("none", GroupNorm(std="none")),
    ],
)
def test_group_norm_is_trls_grpo_advantage(policy, tmp_path, make, ctx, scale, ours):
    from trl import GRPOConfig, GRPOTrainer

    theirs = advantages_of(GRPOTrainer, GRPOConfig, policy, tmp_path, scale_rewards=scale)
    assert ours(*make({"a": REWARDS[:4], "b": REWARDS[4:]}), ctx) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(
    "normalise, ours",
    [
        (False, LeaveOneOut()),
        (True, Whiten(of=LeaveOneOut(), std="sample", eps=1e-4)),
    ],
)
def test_leave_one_out_is_trls_rloo_advantage(policy, tmp_path, make, ctx, normalise, ours):
    from trl import RLOOConfig, RLOOTrainer

    theirs = advantages_of(RLOOTrainer, RLOOConfig, policy, tmp_path, beta=0.0, normalize_advantages=normalise)
    assert ours(*make({"a": REWARDS[:4], "b": REWARDS[4:]}), ctx) == pytest.approx(theirs, abs=1e-6)
