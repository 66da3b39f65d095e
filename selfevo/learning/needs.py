"""The strings in `Term.needs`: what a term asks the learner to compute for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UserError, nearest

KINDS = ("logp", "full", "topk", "entropy", "value")


@dataclass(frozen=True)
class Need:
    """One parsed need.

    logp:REF[:CONTEXT]                    log-probs [B, T] of the response under another policy or context
    full:REF[:CONTEXT]                    log-probs [B, T, V] of the whole vocabulary, "student" (with gradient) and "teacher"
    topk:CONTEXT[:REF[:K[:SIDE]]]         "ids" [B, T, K], "logp" [B, T, K] and "tail" [B, T] of the teacher, "student" and
                                          "student_tail" with gradient; SIDE says whose K likeliest tokens: teacher or student
    entropy, value                        [B, T] of the policy itself, with gradient

    REF is a policy reference ("solver@base"), "old" (the weights at the start of the update), "live" (the present weights, no
    gradient) or, for logp only, "sampler" (the column `logp:sampler`).
    """

    kind: str
    ref: str = ""
    context: str = "train"
    k: int = 0
    side: Literal["teacher", "student"] = "teacher"

    @property
    def ahead(self) -> bool:
        """Whether it is computed once for all samples before the first step (else: with each micro-batch)."""
        return self.kind == "logp" and self.ref not in ("sampler", "live")

    @property
    def beside(self) -> bool:
        """Whether a policy, which may be the one that trains, is passed through beside each micro-batch."""
        return self.ref not in ("", "sampler") and not self.ahead


def parse(text: str, whose: str) -> Need:
    """The need behind a string; `whose` names the term in the UserError for one that means nothing."""
    kind, *parts = text.split(":")
    if kind not in KINDS:
        raise UserError(f"{whose}: needs '{text}', which the learner cannot compute{nearest(kind, KINDS)}")
    if kind in ("entropy", "value") and not parts:
        return Need(kind)
    if kind in ("logp", "full") and 1 <= len(parts) <= 2 and all(parts):
        need = Need(kind, parts[0], parts[1] if len(parts) > 1 else "train")
    elif kind == "topk" and 1 <= len(parts) <= 4 and all(parts):
        context, ref, k, side = [*parts, *("", "live", "20", "teacher")[len(parts) :]]
        if not k.isdigit() or int(k) < 1 or side not in ("teacher", "student"):
            raise UserError(f"{whose}: needs '{text}', expected topk:CONTEXT:REF:K:SIDE with K at least 1 and SIDE teacher or student")
        need = Need(kind, ref, context, int(k), "student" if side == "student" else "teacher")
    else:
        raise UserError(f"{whose}: needs '{text}', which has a wrong number of parts (see selfevo.learning.needs.Need)")
    if need.ref == "sampler" and (need.kind != "logp" or need.context != "train"):
        raise UserError(f"{whose}: needs '{text}', but the sampler gave log-probs of the sampled tokens under the train context only")
    if need.kind in ("full", "topk") and need.ref == "old":
        raise UserError(f"{whose}: needs '{text}', but whole distributions of the weights at the start of the update are not kept;"
                        " use live, or a version such as solver@current")  # fmt: skip
    return need
