"""Fits of single labelled replies with TRL's KTOTrainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UserError
from ..protocols import Builder, Number, RunCtx
from ..records import Sample
from .fit import Data, Fit, Whole, cut

PAIRED = "kto"
"""The loss that reads mismatched rows; TRL's default."""


class Kto(Fit):
    """Replies labelled good or bad through KTOTrainer: `objectives.KTO`, when a device batch holds the whole step.

    The mismatched rows are those of `samples.Labelled`, over all samples; TRL would rotate within device batches. It takes the
    reference point over each device batch, so a batch of one is refused. A single labelled row has no mismatched one: nothing is learned.
    Rows longer than `args.max_length` are cut there, and left out when a reply is gone; "train/cut" counts them.

    Args:
        samples: builders of labelled rows (`selfevo.samples.Labelled`).
        to: reference policy, "solver@base".
        args, lr, carry: see `Fit`.
    """

    kind = "kto"

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
        twins = {s.unit: s for s in samples if s.columns.get("kl")}
        labelled = [s for s in samples if not s.columns.get("kl")]
        for s in labelled:
            if s.columns.get("label") not in (1.0, -1.0):
                raise UserError(f"optimizer trl/kto: sample {s.id} has no label +1 or -1: use selfevo.samples.Labelled")
        if self.args.get("loss_type", PAIRED) != PAIRED:
            rows = [[s] for s in labelled]
        elif len(labelled) < 2:
            return []
        elif any(s.unit not in twins for s in labelled):
            raise UserError("optimizer trl/kto: rows without a mismatched twin: set mismatched: true on selfevo.samples.Labelled")
        else:
            rows = [[s, twins[s.unit]] for s in labelled]
        kept = cut([[self._whole(s) for s in row] for row in rows], self._limit(), ctx)
        return [_named(row) | {"label": labelled[i].columns["label"] == 1.0} for i, row in kept.items()]

    def _trainer(self, config: Any, model: Any, watch: Any, data: Data, target: Any, ctx: RunCtx) -> Any:
        from datasets import Dataset
        from trl import KTOTrainer

        from .collate import Mismatched
        from .running import Prepared, joined, reference

        collate = Mismatched(target.tokenizer.pad_token_id, config.pad_to_multiple_of)
        made = joined(Prepared, KTOTrainer)
        return made(
            model, reference(target, ctx.policy(self.to)), config, collate, Dataset.from_list(data),
            processing_class=target.tokenizer, callbacks=[watch],
        )  # fmt: skip


def _named(row: Sequence[Whole]) -> dict[str, Any]:
    """A labelled reply, and its twin where there is one, as columns."""
    columns = {"ids": row[0][0], "mask": row[0][1]}
    return columns if len(row) == 1 else {**columns, "kl_ids": row[1][0], "kl_mask": row[1][1]}
