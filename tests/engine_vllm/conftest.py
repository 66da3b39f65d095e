"""Fixtures of the vLLM engine's tests: real vLLM on the CPU. A server takes up to a minute to start, so engines are shared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from selfevo.engines import Vllm
from selfevo.models import Pretrained
from selfevo.policies import LivePolicy

SMALL: dict[str, Any] = {"cache_gib": 0.25, "max_batch": 32, "eager": True}


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that engines keep their temporary ones in."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    cache_dir()  # PyTorch's compiler makes its folder when it is first imported; it is no engine's
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("scratch"))
    yield Path(tempfile.tempdir)
    tempfile.tempdir = before


@pytest.fixture(scope="session")
def tiny() -> LivePolicy:
    """The bundled policy, of transformers' class, which vLLM wants. Tests must not change it."""
    return Pretrained("tiny").load("solver").to_transformers()


class Running:
    """The session's engines, one per mode, started when they are first asked for."""

    def __init__(self) -> None:
        self.engines: dict[str, Vllm] = {}

    def __call__(self, mode: str = "in-process") -> Vllm:
        if mode not in self.engines:
            self.engines[mode] = Vllm(mode=mode, **SMALL)
        return self.engines[mode]

    def close(self, *modes: str) -> None:
        """End the engines of these modes; they start again when they are asked for again."""
        for mode in modes:
            if mode in self.engines:
                self.engines.pop(mode).close()


@pytest.fixture(scope="session")
def running(scratch: Path) -> Iterator[Running]:
    """`running("server")`: the session's engine of a mode."""
    engines = Running()
    yield engines
    engines.close(*list(engines.engines))


@pytest.fixture
def start(running: Running) -> Iterator[Callable[..., Vllm]]:
    """`start(lora_rank=8)`: an engine of the test's own, ended with it. A process has room for one vLLM, so the session's makes way."""
    made = []

    def make(**settings: Any) -> Vllm:
        if settings.get("mode", "in-process") == "in-process":
            running.close("in-process")
        made.append(Vllm(**{**SMALL, **settings}))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def engine(running: Running, tiny: LivePolicy) -> Vllm:
    """vLLM in this process with the bundled policy."""
    local = running("in-process")
    local.load(tiny)
    return local
