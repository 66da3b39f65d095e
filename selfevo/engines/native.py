"""The native engine: PyTorch in this process, on the learner's own weights. Constructing it imports no torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

from ..errors import EngineError, UserError, nearest
from ..protocols import Completion, GenerateRequest, Sampling, ScoreRequest, TokenScores


class Native:
    """Generates and scores for any causal language model of transformers whose layers are plain (full or sliding) attention.

    Replies run in one batch of at most `max_batch`; those that finish leave it and waiting requests enter. Equal contexts are
    prefilled once. A reply's draws come from its request's seed and the position of each token in context plus reply, so it is
    the same alone or in any batch (up to rounding), and a reply resumed from its own prefix with the same seed goes on as it was.
    The greedy choice (temperature 0) reports log-probs at temperature 1.
    """

    capabilities = frozenset({"generate", "score", "topk", "full"})
    needs_weights = True
    shared = True

    def __init__(
        self,
        max_batch: int = 256,
        cache_tokens: int = 262144,
        prefill_tokens: int = 4096,
        score_tokens: int = 4096,
        processes: int | None = None,
    ):
        """
        max_batch: replies that run at a time.
        cache_tokens: bound on replies times longest context plus reply (the key-value cache).
        prefill_tokens, score_tokens: padded tokens of one forward pass over contexts, or over contexts and tokens to be scored.
        processes: among how many processes of one thread a call's replies are divided at most (Linux, a CPU, Llama-shaped models of up
            to 32M parameters, and 32 replies for each). Default: PyTorch's number of threads where a run has this process to itself,
            else 1.
        """
        self.max_batch, self.cache_tokens = max_batch, cache_tokens
        self.prefill_tokens, self.score_tokens = prefill_tokens, score_tokens
        self.processes = processes
        for name in ("max_batch", "cache_tokens", "prefill_tokens", "score_tokens", "processes"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"engine.{name} must be at least 1, got {value}")
        self.policy: Any = None
        self._workers: Any = None
        self.alone = False
        """Nothing else computes or speaks in this process while a call is under way: the run says so where it holds."""

    def load(self, policy: Any) -> None:
        """Use this policy's weights from now on. Only the reference is kept: later updates are seen at once."""
        if policy.model is None:
            raise UserError(
                f"policy '{policy.name}' has no weights ({policy.source}): the native engine needs a model; or use engine=scripted"
            )
        self.policy = policy

    def twin(self) -> Native:
        """The same engine for another thread, without a policy yet."""
        other = copy.copy(self)
        other.policy, other._workers, other.alone = None, None, False
        return other

    def close(self) -> None:
        """End the processes that drew parts of the replies; a later call begins new ones."""
        if self._workers is not None:
            self._workers.close()

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """One completion per request, in order. Raises EngineError naming the request when a context does not fit."""
        policy = self._policy()
        limit = policy.codec.limit
        for index, request in enumerate(requests):
            _check(index, request.context, request.sampling)
            if len(request.context) >= limit:
                raise EngineError(f"request {index}: prompt longer than the context ({len(request.context)} of {limit} tokens)")
        if not requests:
            return []
        from .decoding import decode, draw, stepping
        from .workers import Workers

        if self._workers is None:
            self._workers = Workers(stepping, draw)
        processes = 1 if self.processes is None and not self.alone else self.processes
        return decode(policy, requests, self.max_batch, self.cache_tokens, self.prefill_tokens, self._workers, processes)

    def score(
        self, requests: Sequence[ScoreRequest], want: Literal["sampled", "topk", "full"] = "sampled", k: int = 0
    ) -> list[TokenScores]:
        """Scores per request, in order, at each request's temperature. `k` is for want="topk"."""
        policy = self._policy()
        if want not in ("sampled", "topk", "full"):
            raise EngineError(f"want '{want}' is not known{nearest(want, ('sampled', 'topk', 'full'))}")
        if want == "topk" and k < 1:
            raise EngineError(f"want='topk' needs k of at least 1, got {k}")
        for index, request in enumerate(requests):
            total = len(request.context) + len(request.tokens)
            if not request.context:
                raise EngineError(f"request {index}: the context is empty")
            if total > policy.codec.limit:
                raise EngineError(f"request {index}: context and tokens longer than the context ({total} of {policy.codec.limit} tokens)")
        if not requests:
            return []
        from .scoring import score

        return score(policy, requests, want, k, self.score_tokens)

    def _policy(self) -> Any:
        if self.policy is None:
            raise EngineError("the native engine has no policy yet: load one first")
        return self.policy


def _check(index: int, context: Sequence[int], sampling: Sampling) -> None:
    if not context:
        raise EngineError(f"request {index}: the context is empty")
    if sampling.max_tokens < 1:
        raise EngineError(f"request {index}: max_tokens must be at least 1, got {sampling.max_tokens}")
    if not sampling.temperature >= 0.0:
        raise EngineError(f"request {index}: temperature must be at least 0, got {sampling.temperature}")
    if not 0.0 < sampling.top_p <= 1.0:
        raise EngineError(f"request {index}: top_p must be in (0, 1], got {sampling.top_p}")
    if sampling.top_k < 0:
        raise EngineError(f"request {index}: top_k must be at least 0 (0 is off), got {sampling.top_k}")
    if "" in sampling.stop:
        raise EngineError(f"request {index}: a stop string is empty")
