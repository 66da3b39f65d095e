"""Fixtures of the engine's tests: tiny random checkpoints, loaded policies, a native engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """`checkpoint("Llama")`: the folder of a tiny random model."""
    made: dict[str, Path] = {}

    def make(family: str = "Qwen3") -> Path:
        if family not in made:
            made[family] = write_checkpoint(tmp_path_factory.mktemp(family), family)
        return made[family]

    return make


@pytest.fixture(scope="session")
def policies(checkpoint):
    """`policies("Llama")`: the loaded policy. Tests must not change it."""
    from selfevo.models import Pretrained

    made = {}

    def load(family: str = "Qwen3"):
        if family not in made:
            attn = "eager" if family == "Gemma2" else "sdpa"
            made[family] = Pretrained(str(checkpoint(family)), attn=attn).load("solver")
        return made[family]

    return load


@pytest.fixture
def engine(policies):
    """A native engine on the tiny Qwen3."""
    from selfevo.engines import Native

    native = Native()
    native.load(policies())
    return native


@pytest.fixture
def folder(tmp_path):
    """`folder(pad=None)`: a fresh checkpoint with a changed tokenizer."""
    return lambda family="Qwen3", **tokenizer: write_checkpoint(tmp_path / "model", family, **tokenizer)
