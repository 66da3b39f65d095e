"""What vLLM is asked and what it answers, in plain values: the same whether it runs in this process or behind a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import EngineError
from ..protocols import Completion, GenerateRequest, Sampling, ScoreRequest, TokenScores

COOLEST, HOTTEST = 0.01, 2.0
"""Temperatures vLLM samples at, besides 0: it would raise a lower one to `COOLEST` without a word, and refuses a higher one."""


OURS = {
    "gpu_memory_utilization": "engine.memory_share (on a CPU engine.cache_gib)",
    "--kv-cache-memory-bytes": "engine.cache_gib",
    "kv_cache_memory_bytes": "engine.cache_gib",
    "max_model_len": "engine.max_length",
    "tensor_parallel_size": "engine.tensor_parallel",
    "max_num_seqs": "engine.max_batch",
    "max_lora_rank": "engine.lora_rank",
}
"""What a user of ours sets, for what vLLM's errors advise to set."""
LONGEST = 300
VAGUE = ("Engine core initialization failed", "EngineCore encountered an issue", "Internal Server Error", "Worker failed with error")
"""How errors of vLLM begin that only point to another one in its log."""
ASIDES = (" Supported architectures:", " See https://")
"""Where an error of vLLM stops to be of use."""


@dataclass(frozen=True, slots=True)
class Ask:
    """`prompt` ids, and sampling settings by vLLM's names for them. `tail`: positions at the prompt's end whose log-probs are wanted."""

    prompt: tuple[int, ...]
    settings: Mapping[str, Any]
    tail: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """`tokens` [T] with `logprobs` [T] (None where none were asked for), and vLLM's word for why it stopped. `tail`: for each position
    that was wanted, {id: log-prob} of its token and of the likeliest ones."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    finish: str
    tail: Sequence[Mapping[int, float]] = ()


NOTHING = Said((), None, "stop")
"""Of a request to score no tokens."""


def in_our_words(text: str) -> str:
    """An error of vLLM on one line, with the settings it names under our names."""
    text = " ".join(text.split())
    for aside in ASIDES:
        text = text.partition(aside)[0]
    for theirs, name in OURS.items():
        text = text.replace(f"`{theirs}`", name).replace(theirs, name)
    return text[:LONGEST]


def truncated(s: Sampling) -> bool:
    """Whether tokens are drawn from less than the whole distribution."""
    return s.temperature > 0 and (s.top_p < 1.0 or s.top_k > 0)


def check(index: int, request: GenerateRequest, limit: int) -> None:
    """Raise EngineError naming the request for what vLLM cannot do, before it is asked."""
    context, s = request.context, request.sampling
    if not context:
        raise EngineError(f"request {index}: the context is empty")
    if len(context) >= limit:
        raise EngineError(f"request {index}: prompt longer than the context ({len(context)} of {limit} tokens)")
    if s.max_tokens < 1:
        raise EngineError(f"request {index}: max_tokens must be at least 1, got {s.max_tokens}")
    if s.temperature != 0 and not COOLEST <= s.temperature <= HOTTEST:
        raise EngineError(f"request {index}: vLLM samples at temperature 0 or from {COOLEST} to {HOTTEST:g}, got {s.temperature}")
    if not 0.0 < s.top_p <= 1.0:
        raise EngineError(f"request {index}: top_p must be in (0, 1], got {s.top_p}")
    if s.top_k < 0:
        raise EngineError(f"request {index}: top_k must be at least 0 (0 is off), got {s.top_k}")
    if "" in s.stop:
        raise EngineError(f"request {index}: a stop string is empty")


def continuation(request: GenerateRequest, limit: int, ends: frozenset[int]) -> Ask:
    """Ask for a reply. Log-probs come with it unless it is drawn from a truncated distribution: vLLM would report that one's."""
    s = request.sampling
    settings: dict[str, Any] = {
        "max_tokens": min(s.max_tokens, limit - len(request.context)),
        "temperature": s.temperature,
        "top_p": s.top_p,
        "top_k": s.top_k,
        "seed": _seed(request.seed),
        "stop": list(s.stop),
        "stop_token_ids": sorted(ends),
        "include_stop_str_in_output": True,
    }
    if not truncated(s):
        settings["logprobs"] = 0
    return Ask(request.context, settings)


def _seed(seed: int) -> int:
    """63 bits of which the lower 32 depend on all: the generators on a CPU read no more."""
    seed &= (1 << 63) - 1
    return seed ^ (seed >> 32)


def scoring(context: Sequence[int], tokens: Sequence[int], k: int = 0) -> Ask:
    """Ask for the log-probs of `tokens` after `context` at temperature 1, and of the `k` likeliest tokens at each place."""
    return Ask((*context, *tokens), {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": k}, len(tokens))


def completion(said: Said, index: int, codec: Any) -> Completion:
    """The reply that was asked for by `continuation`."""
    if said.finish not in ("stop", "length"):
        raise EngineError(f"request {index}: vLLM ended it with '{said.finish}'")
    finish: Literal["stop", "length"] = "stop" if said.finish == "stop" else "length"
    return Completion(said.tokens, said.logprobs, codec.decode(said.tokens), finish)


def check_score(index: int, request: ScoreRequest, limit: int) -> None:
    """Raise EngineError naming the request for what vLLM cannot score."""
    total = len(request.context) + len(request.tokens)
    if not request.context:
        raise EngineError(f"request {index}: the context is empty")
    if total > limit:
        raise EngineError(f"request {index}: context and tokens longer than the context ({total} of {limit} tokens)")
    if request.temperature not in (0.0, 1.0):
        raise EngineError(f"request {index}: vLLM scores given tokens at temperature 1 only, got {request.temperature}; use engine=native")


def picked(said: Said, tokens: Sequence[int]) -> tuple[float, ...]:
    """Log-probs of the tokens that `scoring` asked about."""
    return tuple(place[token] for place, token in zip(said.tail, tokens, strict=True))


def scores(said: Said, request: ScoreRequest, k: int) -> TokenScores:
    """What `scoring` asked for. `tail` is one minus the mass of the k likeliest, so it is exact to about 1e-7 of mass, not of itself."""
    import numpy as np  # here, since a spec is checked without it

    logprobs = np.array(picked(said, request.tokens), dtype=np.float32)
    if not k:
        return TokenScores(logprobs)
    best = [sorted(place.items(), key=lambda item: (-item[1], item[0]))[:k] for place in said.tail]
    width = min((len(place) for place in best), default=k)
    ids = np.array([[i for i, _ in place] for place in best], dtype=np.int32).reshape(len(best), width)
    topk = np.array([[p for _, p in place] for place in best], dtype=np.float64).reshape(len(best), width)
    with np.errstate(divide="ignore"):
        tail = np.log(np.maximum(1.0 - np.exp(topk).sum(axis=1), 0.0))
    return TokenScores(logprobs, ids, topk.astype(np.float32), tail.astype(np.float32))
