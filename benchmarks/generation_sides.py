"""One batch of requests with preset reply lengths, and who answers it: the native engine, transformers, vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from benchmarks.workloads import lengths, prompt, tasks
from selfevo.codec import ChatCodec
from selfevo.engines import Native
from selfevo.freed import keep_freed_memory
from selfevo.protocols import GenerateRequest, Sampling

GROUP = 16
ROWS = 512
"""The largest batch; its replies run at once."""


@dataclass(frozen=True)
class Batch:
    """Prompts (token ids) and how many tokens each reply must have."""

    contexts: tuple[tuple[int, ...], ...]
    limits: tuple[int, ...]

    @property
    def wanted(self) -> int:
        """Tokens that count."""
        return sum(self.limits)

    @property
    def distinct(self) -> list[int]:
        """Lengths of the distinct prompts."""
        return [len(c) for c in dict.fromkeys(self.contexts)]


def batch(codec: Any, rows: int, grouped: bool, high: int, mean: float) -> Batch:
    """Prompts as in the quickstart, each its own or in groups of 16 equal ones; lengths lognormal, clipped to [8, high]."""
    group = GROUP if grouped else 1
    contexts = [prompt(codec, t) for t in tasks(-(-rows // group))]
    return Batch(tuple(contexts[i // group] for i in range(rows)), tuple(lengths(rows, high, mean)))


class Endless(ChatCodec):
    """A codec whose replies end at their length only."""

    ends: frozenset[int] = frozenset()  # type: ignore[assignment]


class Ours:
    """The native engine; beside tokens and text it gives every token's log-prob, which nobody else is asked for."""

    def __init__(self, live: Any):
        self.live = replace(live, codec=Endless(live.tokenizer, live.codec.limit))
        self.engine = Native(max_batch=ROWS)
        self.engine.alone = True  # as in a run of one process
        keep_freed_memory([self.live])  # so does a run
        self.engine.load(self.live)
        self.given_tokens = 0

    def run(self, given: Batch) -> None:
        """Answer a batch."""
        replies = self.engine.generate([
            GenerateRequest(c, i, Sampling(max_tokens=n)) for i, (c, n) in enumerate(zip(given.contexts, given.limits, strict=True))
        ])  # fmt: skip
        self.given_tokens = check([len(r.tokens) for r in replies], given, "the native engine")


class AtLength(StoppingCriteria):
    """Ends each row at its own length. The attribute makes `generate` pad finished rows, as it does after an end token."""

    eos_token_id = None

    def __init__(self, start: int, limits: Tensor):
        self.start, self.limits = start, limits

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:  # type: ignore[override]
        return input_ids.shape[1] - self.start >= self.limits


class Transformers:
    """`generate` of transformers, one batch padded on the left, which runs until its longest reply is done.

    `cache`: None (grows) or "static"; the faster depends on the batch.
    """

    def __init__(self, live: Any, cache: str | None = None):
        self.cache = cache
        self.live, self.pad = live.fork().to_transformers(), live.tokenizer.pad_token_id
        self.live.model.generation_config.eos_token_id = None  # else `generate` fills it in where the settings have none
        self.given_tokens = 0

    def run(self, given: Batch) -> None:
        """Answer a batch."""
        width, device = max(map(len, given.contexts)), self.live.model.device
        ids = torch.tensor([[self.pad] * (width - len(c)) + list(c) for c in given.contexts], device=device)
        mask = torch.tensor([[0] * (width - len(c)) + [1] * len(c) for c in given.contexts], device=device)
        settings = GenerationConfig(
            max_new_tokens=max(given.limits), do_sample=True, temperature=1.0, top_k=0, top_p=1.0, pad_token_id=self.pad,
            eos_token_id=None, cache_implementation=self.cache,
        )  # fmt: skip
        stop = StoppingCriteriaList([AtLength(width, torch.tensor(given.limits, device=device))])
        with torch.inference_mode():
            out = self.live.model.generate(
                input_ids=ids, attention_mask=mask, generation_config=settings, stopping_criteria=stop
            )[:, width:]
        replies = [r[:n] for r, n in zip(out.tolist(), given.limits, strict=True)]
        self.live.tokenizer.batch_decode(replies, skip_special_tokens=True)
        self.given_tokens = check([len(r) for r in replies], given, "transformers")


def check(found: Sequence[int], given: Batch, who: str) -> int:
    """Every reply has the length that was asked for, or the comparison means nothing. Returns the tokens in all."""
    if list(found) != list(given.limits):
        raise RuntimeError(f"{who} gave {sum(found)} tokens, {given.wanted} were asked for")
    return sum(found)
