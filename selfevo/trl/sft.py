"""Supervised fits with TRL's SFTTrainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..protocols import Builder, Number, RunCtx
from ..records import Sample
from .fit import Data, Fit, cut

IGNORED = -100
"""The label of a token that is not learned."""


class Sft(Fit):
    """Cross-entropy of the masked-in response tokens, the mean over all tokens of an optimizer step: `objectives.NLL` with
    `reduce: tokens`, when the batches are the same.

    Rows longer than `args.max_length` are cut at their end and left out when nothing is left to learn; "train/cut" counts them. With
    `packing` TRL cuts.

    Args: see `Fit`.
    """

    kind = "sft"

    def __init__(
        self, samples: Mapping[str, Builder], args: Mapping[str, Any] | None = None, lr: Number | None = None, carry: bool = True
    ):
        super().__init__(samples, args, lr, carry)

    def _data(self, samples: Sequence[Sample], ctx: RunCtx) -> Data:
        limit = None if self.args.get("packing") else self._limit()
        rows = cut([[self._whole(s)] for s in samples], limit, ctx)
        return [{"input_ids": whole[0], "labels": [i if m else IGNORED for i, m in zip(*whole, strict=True)]} for (whole,) in rows.values()]

    def _trainer(self, config: Any, model: Any, watch: Any, data: Data, target: Any, ctx: RunCtx) -> Any:
        from datasets import Dataset
        from trl import SFTTrainer

        from .running import Contained, joined

        made = joined(Contained, SFTTrainer)
        return made(model, config, train_dataset=Dataset.from_list(data), processing_class=target.tokenizer, callbacks=[watch])
