"""Stop strings: which rows have just completed one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..protocols import GenerateRequest


class Stops:
    """Looks at a reply's text only when its newest token could complete one of its stop strings.

    A stop string is complete once its last character is written, so a token whose own text lacks that character can be passed
    over without decoding the reply. Tokens whose text alone tells too little (parts of a character, or a last character that is
    white space or not ASCII, which decoders may add or drop) are never passed over.
    """

    def __init__(self, policy: Any, requests: Sequence[GenerateRequest], device: torch.device):
        self.codec, self.requests = policy.codec, requests
        self.active = any(r.sampling.stop for r in requests)
        if not self.active:
            return
        kinds = sorted({r.sampling.stop for r in requests})
        self.kind = torch.tensor([kinds.index(r.sampling.stop) for r in requests], device=device)
        size = policy.model.get_output_embeddings().weight.shape[0]
        self.may_end = torch.tensor([_may_end(stop, self.codec.pieces, size) for stop in kinds], device=device)

    def __call__(self, drawn: Tensor, who: Tensor, step: Tensor, tokens: Tensor) -> Tensor:
        """bool [m]: whether the replies `tokens` [m, ...] of requests `who`, `step` long and ending in `drawn`, met a stop string."""
        hit = torch.zeros_like(drawn, dtype=torch.bool)
        if not self.active:
            return hit
        for row in self.may_end[self.kind[who], drawn].nonzero().squeeze(1).tolist():
            text = self.codec.decode(tokens[row, : int(step[row])].tolist())
            hit[row] = any(s in text for s in self.requests[int(who[row])].sampling.stop)
        return hit


def _may_end(stop: tuple[str, ...], pieces: Sequence[str], size: int) -> list[bool]:
    """Per token id below `size`: whether it could complete one of the stop strings."""
    ends = {s[-1] for s in stop}
    if any((c.isspace() and c != "\n") or not c.isascii() for c in ends):
        return [True] * size
    found = [not ends.isdisjoint(piece) or "\ufffd" in piece for piece in pieces[:size]] if ends else []
    return found + [False] * (size - len(found))
