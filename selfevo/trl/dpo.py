"""Preference fits with TRL's DPOTrainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..protocols import Builder, Number, RunCtx
from ..records import Sample
from .fit import Data, Fit, cut, pairs


class Dpo(Fit):
    """Pairs through DPOTrainer, whose `args.loss_type` holds DPO (the default, as `objectives.DPO`) and its many relatives.

    TRL takes the mean over the pairs of each device batch, then over the batches of a step. A pair with a side longer than
    `args.max_length` is cut there, and left out when a reply is gone; "train/cut" counts them.

    Args:
        samples: builders of pairs (`selfevo.samples.Pairs`).
        to: reference policy, "solver@base".
        args, lr, carry: see `Fit`.
    """

    kind = "dpo"

    def __init__(
        self,
        samples: Mapping[str, Builder],
        to: str,
        args: Mapping[str, Any] | None = None,
        lr: Number | None = None,
        carry: bool = True,
    ):
        super().__init__(samples, args, lr, carry)
        self.to, self.needs = to, frozenset({f"logp:{to}"})

    def _data(self, samples: Sequence[Sample], ctx: RunCtx) -> Data:
        rows = cut([[self._whole(s) for s in pair] for pair in pairs(samples, self.kind)], self._limit(), ctx)
        return [{"chosen_ids": c[0], "chosen_mask": c[1], "rejected_ids": r[0], "rejected_mask": r[1]} for c, r in rows.values()]

    def _trainer(self, config: Any, model: Any, watch: Any, data: Data, target: Any, ctx: RunCtx) -> Any:
        from datasets import Dataset
        from trl import DPOTrainer

        from .collate import Chosen
        from .running import Prepared, joined, reference

        collate = Chosen(target.tokenizer.pad_token_id, config.pad_to_multiple_of)
        made = joined(Prepared, DPOTrainer)
        return made(
            model, reference(target, ctx.policy(self.to)), config, collate, Dataset.from_list(data),
            processing_class=target.tokenizer, callbacks=[watch],
        )  # fmt: skip
