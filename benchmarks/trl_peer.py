"""TRL's GRPOTrainer, set up as a careful user would for a small model on a CPU, and its optimizer step on given rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from selfevo.records import Row

LR, BETAS, WEIGHT_DECAY, CLIP, STD_EPS = 1.0e-3, (0.9, 0.999), 0.0, 1.0, 1.0e-4
"""Shared by both sides; TRL adds a fixed 1e-4 to the deviation of rewards."""


def config(folder: str, rows: int, split: int, group: int, max_tokens: int, steps: int, **more: Any) -> Any:
    """One optimizer step per generation batch of `rows`, taken in `split` micro-batches; nothing is logged, saved or shown.

    Gradient checkpointing, on by default in TRL, would compute every forward pass twice: it is off.
    """
    from trl import GRPOConfig

    return GRPOConfig(
        folder, per_device_train_batch_size=rows // split, gradient_accumulation_steps=split, num_generations=group,
        max_completion_length=max_tokens, max_steps=steps, temperature=1.0, top_p=1.0, top_k=0, beta=0.0, loss_type="grpo",
        scale_rewards="group", epsilon=0.2, learning_rate=LR, lr_scheduler_type="constant", warmup_steps=0, adam_beta1=BETAS[0],
        adam_beta2=BETAS[1], adam_epsilon=1e-8, weight_decay=WEIGHT_DECAY, max_grad_norm=CLIP, gradient_checkpointing=False,
        shuffle_dataset=False, dataloader_num_workers=0, dataloader_pin_memory=False, report_to="none",
        save_strategy="no", logging_strategy="no", disable_tqdm=True, **{"bf16": False, "use_cpu": True, **more},
    )  # fmt: skip


def trainer(model: Any, tokenizer: Any, data: Sequence[dict[str, str]], reward: Callable[..., list[float]], settings: Any) -> Any:
    """A trainer on data whose `prompt` is rendered already, taken in its order; its other columns go to the reward function."""
    from datasets import Dataset, disable_progress_bars
    from transformers.trainer_callback import PrinterCallback
    from transformers.utils import logging
    from trl import GRPOTrainer

    disable_progress_bars()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", module=r"trl|transformers|torch|accelerate")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    made = GRPOTrainer(model, reward, settings, Dataset.from_list(list(data)), processing_class=tokenizer)
    made.remove_callback(PrinterCallback)
    return made


def stacked(sequences: Sequence[Sequence[Any]], left: bool, dtype: torch.dtype = torch.int64) -> Tensor:
    """Padded with zeros on one side."""
    width = max(map(len, sequences))
    return torch.tensor([[0] * (width - len(s)) + [*s] if left else [*s] + [0] * (width - len(s)) for s in sequences], dtype=dtype)


def batch(rows: Sequence[Row], advantages: Sequence[float]) -> dict[str, Tensor]:
    """What `_compute_loss` reads: prompts padded on the left, replies on the right, to the longest of the whole batch."""
    turns = [r.trajectory.turns[0] for r in rows]
    return {
        "prompt_ids": stacked([t.context for t in turns], left=True),
        "prompt_mask": stacked([[1] * len(t.context) for t in turns], left=True),
        "completion_ids": stacked([t.tokens for t in turns], left=False),
        "completion_mask": stacked([[1] * len(t.tokens) for t in turns], left=False),
        "advantages": torch.tensor(advantages, dtype=torch.float32),
    }


class Step:
    """One optimizer step of TRL on a given batch, as its training loop takes it: loss, backward, clip, AdamW."""

    def __init__(self, made: Any):
        self.trainer = made
        self.trainer.model.train()
        self.optimizer = self.trainer.create_optimizer()

    def gradient(self, inputs: dict[str, Tensor], split: int) -> tuple[float, float]:
        """Loss and 2-norm of the gradient, which is left in the parameters; `split` micro-batches."""
        from trl.trainer.utils import split_tensor_dict

        self.trainer.current_gradient_accumulation_steps = split
        self.optimizer.zero_grad()
        total = 0.0
        for part in split_tensor_dict(inputs, split):
            loss = self.trainer._compute_loss(self.trainer.model, part)
            loss.backward()
            total += loss.item()
        return total, float(torch.nn.utils.clip_grad_norm_(self.trainer.model.parameters(), CLIP))

    def step(self, inputs: dict[str, Tensor], split: int) -> tuple[float, float]:
        """The same, and the weights move."""
        result = self.gradient(inputs, split)
        self.optimizer.step()
        return result
