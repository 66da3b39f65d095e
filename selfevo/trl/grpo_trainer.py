"""GRPOTrainer with prompts as token ids and a reference of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from .judge import Judge
from .running import Contained


class Asking(Contained, GRPOTrainer):
    """A prompt is the index of a task; its ids are those that the run recorded, so that nothing is tokenised or rendered here."""

    contexts: Sequence[Sequence[int]] = ()

    def _tokenize_prompts(self, prompts: Sequence[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [list(self.contexts[int(p)]) for p in prompts], None, {}


def trainer(
    config: Any, model: Any, watch: Any, data: Sequence[Mapping[str, Any]], target: Any, judge: Judge, base: Any | None
) -> Asking:
    """The trainer. `base` is the reference where beta is not 0: TRL would load one from where the model came from."""
    beta, config.beta = config.beta, 0.0
    model.generation_config.eos_token_id = sorted(target.codec.ends)
    asked = Dataset.from_list([dict(row) for row in data])
    made = Asking(model, judge.verifier, config, asked, processing_class=target.tokenizer, callbacks=[watch])
    made.contexts = [a.context for a in judge.asked]
    config.beta = made.beta = beta
    if base is not None:
        add_fused_lm_head(base, temperature=config.temperature)
        made.ref_model = made.accelerator.prepare_model(base, evaluation_mode=True)
    return made
