"""vLLM in this process."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import EngineError, SelfevoError, UserError
from .vllm_words import Ask, Said, in_our_words

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
DEFAULTS = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # it would bind this process's threads, the learner's among them
    "VLLM_LOGGING_LEVEL": "ERROR",
}
TAKEN = ("LD_PRELOAD", "LOCAL_WORLD_SIZE")
"""Variables that vLLM sets for its workers; every child of this process would inherit them."""
RUNNING: list[Local] = []
"""The engine that runs in this process, if one does: a second would share its process group, which the first to end takes down."""


class Local:
    """`vllm.LLM`. With tensor parallelism the other ranks are processes of their own and weights go through a folder."""

    def __init__(self, folder: Path, arguments: Mapping[str, Any]):
        """`arguments`: vLLM's engine arguments. Raises EngineError when vLLM cannot start."""
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            ranks = os.environ["WORLD_SIZE"]
            raise UserError(f"engine.mode: vLLM cannot start inside one of {ranks} training processes; use engine.mode=server")
        if RUNNING:
            raise UserError("engine.mode: one vLLM runs in this process already; another needs engine.mode=server")
        self.in_memory = arguments["tensor_parallel_size"] == 1
        self._adapter: Any = None
        self._adapters = 0
        os.environ.update(ENVIRONMENT)
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        with undisturbed(), silent():
            try:
                from vllm import LLM

                self._llm: Any = LLM(model=str(folder), disable_log_stats=True, use_tqdm_on_load=False, **arguments)
            except Exception as error:
                _clean_up()
                raise EngineError(f"vLLM cannot start: {reason(error)}") from error
        RUNNING.append(self)

    def ask(self, asks: Sequence[Ask], adapter: str | None) -> list[Said]:
        """Answers, in order."""
        from vllm import SamplingParams, TokensPrompt

        prompts = [TokensPrompt(prompt_token_ids=list(a.prompt)) for a in asks]
        settings = [SamplingParams(**a.settings, flat_logprobs=True, detokenize=bool(a.settings.get("stop"))) for a in asks]
        request = None if adapter is None else self._adapter
        with undisturbed():
            try:
                outputs = self._llm.generate(prompts, settings, use_tqdm=False, lora_request=request)
            except Exception as error:
                raise EngineError(f"vLLM failed: {reason(error)}") from error
        return [_said(output, ask.tail) for output, ask in zip(outputs, asks, strict=True)]

    def update(self, weights: Iterator[tuple[str, Any]]) -> None:
        """Take these tensors, under their names in a checkpoint."""
        self._reload(tensors=weights)

    def reload(self, folder: Path) -> None:
        """Take the weights of a checkpoint."""
        self._reload(folder=str(folder))

    def adapt(self, name: str, folder: Path) -> None:
        """Take an adapter in, in place of those before it. Its id is new, so no cached prefix of another is taken for its own."""
        from vllm.lora.request import LoRARequest

        old, self._adapter = self._adapter, None
        if old is not None:
            self._llm.llm_engine.remove_lora(old.lora_int_id)
        self._adapters += 1
        request = LoRARequest(name, self._adapters, str(folder))
        with refused():
            self._llm.llm_engine.add_lora(request)
        self._adapter = request

    def sleep(self, level: int) -> None:
        """Give GPU memory back."""
        self._llm.sleep(level)

    def wake(self, part: str) -> None:
        """Take memory again for "weights" or "kv_cache"."""
        self._llm.wake_up([part])

    def close(self) -> None:
        """End workers and give all memory back."""
        RUNNING.remove(self)
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        _clean_up()

    def _reload(self, **what: Any) -> None:
        with undisturbed(), refused():
            self._llm.collective_rpc("take_weights", kwargs=what)
            if not self._llm.reset_prefix_cache():
                raise EngineError("vLLM did not empty its prefix cache: replies would be continued from the old weights")


def _clean_up() -> None:
    """Undo what vLLM set up in this process. Where it ended well that is done already, and this does nothing more."""
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

    cleanup_dist_env_and_memory()
    gc.collect()


@contextmanager
def refused() -> Iterator[None]:
    """What vLLM raises becomes one line."""
    try:
        yield
    except SelfevoError:
        raise
    except Exception as error:
        raise EngineError(f"vLLM does not take the weights: {reason(error)}") from error


@contextmanager
def undisturbed() -> Iterator[None]:
    """vLLM seeds and draws from the global generators, sets the number of threads (and on a CPU takes the function for it away), and
    leaves variables for its workers behind. All that is put back; but for the generators where a learner may be drawing from them in
    the main thread meanwhile."""
    import numpy as np
    import torch

    alone = threading.current_thread() is threading.main_thread()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    threads, set_threads = torch.get_num_threads(), torch.set_num_threads
    variables = {name: os.environ.get(name) for name in TAKEN}
    try:
        yield
    finally:
        torch.set_num_threads = set_threads
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if alone:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def silent() -> Iterator[None]:
    """What vLLM and its libraries say on stderr while they start (kernels, memory nodes, deprecations) goes nowhere: what ends a start
    is an exception, and a run's stderr is for one line."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def reason(error: BaseException) -> str:
    """What went wrong, on one line: of pydantic's reports the sentence itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith("Value error, ")), None)
    text = told.removeprefix("Value error, ").partition(" [type=")[0] if told is not None else " ".join(lines)
    return in_our_words(text) or type(error).__name__


def _said(output: Any, tail: int) -> Said:
    reply = output.outputs[0]
    places = output.prompt_logprobs
    return Said(
        tuple(reply.token_ids),
        None if reply.logprobs is None else tuple(reply.logprobs.logprobs),
        reply.finish_reason,
        [{token: entry.logprob for token, entry in places[i].items()} for i in range(len(places) - tail, len(places))] if tail else [],
    )
