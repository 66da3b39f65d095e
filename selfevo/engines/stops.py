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
        pieces = self._pieces(policy)
        table = torch.zeros(len(kinds), policy.model.get_output_embeddings().weight.shape[0], dtype=torch.bool)
        for row, stop in enumerate(kinds):
            ends = {s[-1] for s in stop}
            blind = any(c.isspace() and c != "\n" or not c.isascii() for c in ends)
            for token, piece in enumerate(pieces):
                table[row, token] = bool(ends) and (blind or "\ufffd" in piece or any(c in piece for c in ends))
        self.may_end = table.to(device)

    def __call__(self, drawn: Tensor, who: Tensor, step: Tensor, tokens: Tensor) -> Tensor:
        """bool [n]: whether the reply of each request `who`, `step` tokens long and ending in `drawn`, has met a stop string."""
        hit = torch.zeros_like(drawn, dtype=torch.bool)
        if not self.active:
            return hit
        for row in self.may_end[self.kind[who], drawn].nonzero().squeeze(1).tolist():
            request = int(who[row])
            text = self.codec.decode(tokens[request, : int(step[row])].tolist())
            hit[row] = any(s in text for s in self.requests[request].sampling.stop)
        return hit

    def _pieces(self, policy: Any) -> list[str]:
        """The text of every token alone, kept on the codec."""
        pieces = getattr(policy.codec, "pieces", None)
        if pieces is None:
            size = len(policy.tokenizer)
            pieces = [self.codec.decode([i]) for i in range(size)]
            policy.codec.pieces = pieces
        return pieces
