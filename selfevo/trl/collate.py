"""Batches of token ids for TRL's preference trainers, with masks that may have holes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def padded(ids: Sequence[Sequence[int]], masks: Sequence[Sequence[int]], pad: int, multiple: int | None) -> dict[str, torch.Tensor]:
    """`input_ids`, `attention_mask` and `completion_mask` [B, L], padded on the right; L is a multiple of `multiple`."""
    width = max(map(len, ids))
    width += -width % (multiple or 1)

    def stacked(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
        return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.int64)

    return {
        "input_ids": stacked(ids, pad),
        "attention_mask": stacked([[1] * len(row) for row in ids], 0),
        "completion_mask": stacked(masks, 0),
    }


class Chosen:
    """For `DPOTrainer`: the chosen halves of all pairs, then the rejected ones."""

    def __init__(self, pad: int, multiple: int | None):
        self.pad, self.multiple = pad, multiple

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch."""
        ids = [row[f"{side}_ids"] for side in ("chosen", "rejected") for row in rows]
        masks = [row[f"{side}_mask"] for side in ("chosen", "rejected") for row in rows]
        return padded(ids, masks, self.pad, self.multiple)


class Mismatched:
    """For `KTOTrainer`: labelled rows, and where there are any their mismatched twins under the prefix "KL_"."""

    def __init__(self, pad: int, multiple: int | None):
        self.pad, self.multiple = pad, multiple

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch."""
        out = padded([r["ids"] for r in rows], [r["mask"] for r in rows], self.pad, self.multiple)
        if "kl_ids" in rows[0]:
            other = padded([r["kl_ids"] for r in rows], [r["kl_mask"] for r in rows], self.pad, self.multiple)
            out |= {f"KL_{name}": tensor for name, tensor in other.items()}
        out["label"] = torch.tensor([r["label"] for r in rows], dtype=torch.bool)
        return out
