"""Engines at a test's endpoint, with a cache of their own and a key in the environment; one vLLM server for all that want it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from endpoint_asks import KEY, VARIABLE
from served_vllm import VllmServer

from selfevo.engines import OpenAI
from selfevo.models import Endpoint


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is there, and no proxy stands before the loopback address."""
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., OpenAI]:
    """An engine at a URL, loaded with an endpoint's policy. It does not try again unless told to."""

    def made(url: str, **changes: object) -> OpenAI:
        settings = {"model": "tiny", "base_url": url, "key_env": VARIABLE, "cache": str(tmp_path / "answers"), "retries": 0, **changes}
        engine = OpenAI(**settings)  # type: ignore[arg-type]
        engine.load(Endpoint().load("judge"))
        return engine

    return made


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """A server that is started when first needed, and ended with the session."""
    server = VllmServer(tmp_path_factory.mktemp("vllm") / "log.txt", KEY)
    try:
        yield server
    finally:
        server.down()
