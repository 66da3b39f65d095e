"""vLLM in an environment of its own, spoken to over pipes: a line of JSON in, a line of JSON out (`vllm_peer.py` is the other end)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generation_sides import Batch, check

HERE = Path(__file__).parent
VARIABLE = "SELFEVO_VLLM_ENV"
"""Names the environment; without it, `.venv-vllm` in the checkout."""


@dataclass
class Missing:
    """Why there is nothing to compare with."""

    why: str


class Vllm:
    """A running vLLM with one model."""

    def __init__(self, process: subprocess.Popen[str]):
        self.process = process

    def run(self, given: Batch) -> None:
        """Answer a batch."""
        check(self.ask({"contexts": given.contexts, "limits": given.limits})["lengths"], given, "vLLM")

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """One exchange. Raises RuntimeError when the process is gone."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"vLLM ended with status {self.process.wait()}")
        return json.loads(line)

    @classmethod
    @contextmanager
    def of(cls, live: Any, size: str, threads: int) -> Iterator[Vllm | Missing]:
        """vLLM with the weights of the policy called `size`, started and ended here; or why it is missing."""
        home = Path(os.environ.get(VARIABLE, HERE.parent / ".venv-vllm"))
        if not (home / "bin" / "python").exists():
            yield Missing("vLLM's environment is not there: make bench-peers")
            return
        folder = home / "models" / size  # always the same: vLLM finds what it compiled for a model by its path
        live.save(folder)
        log = folder / "log.txt"
        with log.open("w") as errors:
            command = [str(home / "bin" / "python"), str(HERE / "vllm_peer.py"), str(folder), str(threads)]
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
            process = subprocess.Popen(command, env=environment(threads), **pipes)
            peer = cls(process)
            try:
                peer.answer()
            except RuntimeError as error:
                last = [line for line in log.read_text().splitlines() if line.strip()][-1:]
                yield Missing(f"{error} while starting: {' '.join(last)[:200]}; make bench-peers builds its environment")
                return
            try:
                yield peer
            finally:
                process.stdin.close()  # type: ignore[union-attr]
                process.wait(timeout=60)


def environment(threads: int) -> dict[str, str]:
    """In-process mode, 2 GiB of cache, the given number of threads; nothing of our own environment's Python."""
    base = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return {
        **base, "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": str(threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "WARNING",
    }  # fmt: skip
