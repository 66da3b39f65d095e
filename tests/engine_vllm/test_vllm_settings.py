"""Settings are checked without vLLM: these tests run in the light environment."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from selfevo.engines import Vllm
from selfevo.errors import EngineError, UserError
from selfevo.models import Pretrained, Scripted
from selfevo.protocols import Closing, GenerateRequest, Resting, ScoreRequest


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mode": "in_process"}, "engine.mode 'in_process' is not known; did you mean 'in-process'?"),
        ({"dtype": "float8"}, "engine.dtype 'float8' is not known"),
        ({"sleep": 3}, "engine.sleep '3' is not known"),
        ({"lora_rank": 12}, "engine.lora_rank '12' is not known"),
        ({"tensor_parallel": 0}, "engine.tensor_parallel must be at least 1, got 0"),
        ({"replicas": 0, "mode": "server"}, "engine.replicas must be at least 1, got 0"),
        ({"max_batch": 0}, "engine.max_batch must be at least 1, got 0"),
        ({"max_length": 1}, "engine.max_length must be at least 2, got 1"),
        ({"memory_share": 1.0}, "engine.memory_share must be between 0 and 1, got 1.0"),
        ({"cache_gib": 0.0}, "engine.cache_gib must be more than 0, got 0.0"),
        ({"start_seconds": float("nan")}, "engine.start_seconds must be more than 0, got nan"),
        ({"stall_seconds": -1.0}, "engine.stall_seconds must be more than 0, got -1.0"),
        ({"mode": "server", "port": 70000}, "engine.port must be from 0 to 65535"),
        ({"mode": "server", "gpus": [1, 1]}, "engine.gpus must be different numbers of GPUs, got [1, 1]"),
        ({"replicas": 2}, "engine.replicas needs engine.mode=server"),
        ({"gpus": [1]}, "engine.gpus needs engine.mode=server"),
        ({"port": 8000}, "engine.port needs engine.mode=server"),
        ({"log": "log.txt"}, "engine.log needs engine.mode=server"),
    ],
)
def test_a_setting_that_makes_no_sense_is_one_line(settings, message):
    with pytest.raises(UserError) as error:
        Vllm(**settings)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_checking_a_spec_with_vllm_imports_neither_vllm_nor_torch():
    code = (
        "import sys\nfrom selfevo import spec\nspec.read(['engine=vllm', 'engine.mode=server'])\n"
        "print([m for m in ('torch', 'vllm', 'httpx') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_an_engine_that_was_never_started_rests_and_closes_and_asks_for_a_policy():
    engine = Vllm()
    assert isinstance(engine, Resting) and isinstance(engine, Closing)
    engine.rest()
    engine.close()
    for ask in (lambda: engine.generate([GenerateRequest((1,), 0)]), lambda: engine.score([ScoreRequest((1,), (2,))])):
        with pytest.raises(EngineError, match="no policy yet"):
            ask()


def test_a_policy_without_weights_is_refused():
    with pytest.raises(UserError, match="has no weights"):
        Vllm().load(Scripted().load("solver"))


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_a_run_ends_in_one_line_that_says_what_to_install():
    with pytest.raises(UserError, match=r"pip install 'selfevo\[cpu-engine\]' for a CPU, 'selfevo\[gpu\]' for NVIDIA GPUs") as error:
        Vllm().load(Pretrained("tiny").load("solver"))
    assert "\n" not in str(error.value)
