"""What goes wrong with a server ends in one line and leaves no process behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from checkpoints import write_tokenizer
from vllm_checks import contexts, drawn

from selfevo.engines import Vllm
from selfevo.errors import EngineError, UserError
from selfevo.models import Pretrained

pytestmark = pytest.mark.scale
SMALL = {"cache_gib": 0.25, "max_batch": 32, "eager": True}


def group(leader: int) -> list[int]:
    """Processes of a process group that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(pgrp) == leader and state != "Z":
                found.append(int(entry.name))
    return found


def gone(leader: int, seconds: float = 30.0) -> bool:
    """Whether the group ends within that time."""
    until = time.monotonic() + seconds
    while group(leader) and time.monotonic() < until:
        time.sleep(0.05)
    return not group(leader)


def line(error: pytest.ExceptionInfo[BaseException]) -> str:
    """The one line."""
    assert "\n" not in str(error.value)
    return str(error.value)


def server_of(engine: Vllm) -> tuple[int, int]:
    """The leader of the server's processes, and the server itself."""
    leader = engine._holding.engine._guard.pid
    (server,) = (int(p) for p in Path(f"/proc/{leader}/task/{leader}/children").read_text().split())
    return leader, server


def test_a_server_that_stalls_or_dies_is_one_line_and_close_leaves_no_process(start, tiny, scratch):
    before = set(scratch.iterdir())
    engine = start(mode="server", stall_seconds=20)
    engine.load(tiny)
    leader, server = server_of(engine)
    assert len(group(leader)) >= 3  # the guard, the server and its engine
    os.kill(server, signal.SIGSTOP)
    with pytest.raises(EngineError) as error:
        drawn(engine, contexts())
    assert line(error) == "the vLLM server has not answered for 20 s (engine.stall_seconds)"
    os.kill(server, signal.SIGCONT)
    assert len(drawn(engine, contexts())) == 6
    os.kill(server, signal.SIGKILL)
    with pytest.raises(EngineError, match="the vLLM server ended"):
        drawn(engine, contexts())
    assert gone(leader)
    engine.close()
    engine.close()
    assert set(scratch.iterdir()) == before


def test_closing_ends_every_process_and_what_comes_after_asks_for_a_policy(start, tiny):
    engine = start(mode="server")
    engine.load(tiny)
    leader, _ = server_of(engine)
    engine.close()
    assert not group(leader)
    with pytest.raises(EngineError, match="no policy yet"):
        drawn(engine, contexts())


OWNER = """
import os, sys
from selfevo.engines import Vllm
from selfevo.models import Pretrained
engine = Vllm(mode="server", eager=True, cache_gib=0.25, max_batch=32)
engine.load(Pretrained("tiny").load("solver"))
print(engine._holding.engine._guard.pid, flush=True)
sys.stdin.read()
"""


def test_a_server_does_not_outlive_an_owner_that_is_killed_nor_do_its_files():
    with TemporaryDirectory() as folder:  # vLLM puts sockets there, whose paths may have 107 characters
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": {**os.environ, "TMPDIR": folder}}
        with subprocess.Popen([sys.executable, "-c", OWNER], **pipes) as owner:
            leader = next(int(said) for said in owner.stdout if said.strip().isdigit())  # libraries print too
            assert group(leader)
            owner.kill()
            owner.wait()
            assert gone(leader)
        assert not list(Path(folder).glob("selfevo-vllm-*"))


def test_a_port_in_use_is_refused_before_anything_starts(tiny, scratch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError) as error:
            Vllm(mode="server", port=port, **SMALL).load(tiny)
    assert line(error) == f"engine.port: {port} cannot be had on 127.0.0.1 (Address already in use); 0 picks a free one"


def test_a_server_that_does_not_come_up_in_time_is_ended(tiny, scratch):
    before, folders = set(children()), set(scratch.iterdir())
    with pytest.raises(EngineError) as error:
        Vllm(mode="server", start_seconds=0.5, **SMALL).load(tiny)
    assert line(error).startswith("the vLLM server did not start within 0.5 s (engine.start_seconds)")
    assert set(children()) <= before and set(scratch.iterdir()) == folders


def children() -> list[str]:
    """Processes that this one started and that still run."""
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


@pytest.mark.parametrize("mode", ["in-process", "server"])
def test_what_vllm_refuses_at_its_start_is_said_in_one_line(tiny, running, mode):
    running.close(mode)
    before = set(children())
    with pytest.raises(EngineError) as error:
        Vllm(mode=mode, cache_gib=1e-6, eager=True, max_batch=8).load(tiny)
    assert "No available memory for the cache blocks" in line(error) and "engine.cache_gib" in line(error)
    assert set(children()) <= before


def test_more_ranks_than_devices_are_refused_before_anything_starts(tiny):
    with pytest.raises(UserError, match=r"tensor_parallel x replicas is 4096, but there are \d+ CPU cores for it"):
        Vllm(mode="server", tensor_parallel=1024, replicas=4).load(tiny)


def test_in_process_vllm_is_refused_among_several_training_ranks(tiny, scratch, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"one of 2 training processes; use engine.mode=server"):
        Vllm(**SMALL).load(tiny)


def served(engine, policy):
    """A reply of the policy."""
    engine.load(policy)
    return drawn(engine, [(20, 21)])


@pytest.mark.parametrize("mode", ["in-process", "server"])
def test_a_model_vllm_cannot_serve_is_said_in_one_line(start, tmp_path, mode):
    import transformers

    saved = write_tokenizer(tmp_path)
    sizes = {"n_positions": 64, "n_embd": 32, "dff": 32, "n_layer": 1, "n_head": 2}
    config = transformers.CTRLConfig(vocab_size=len(saved), eos_token_id=saved.eos_token_id, **sizes)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(EngineError) as error:
        served(start(mode=mode), Pretrained(str(tmp_path)).load("solver"))
    said = {
        "in-process": "vLLM cannot start: Model architectures ['CTRLLMHeadModel'] are not supported for now.",
        "server": "the vLLM server failed: RuntimeError: Unsupported CPU attention configuration: head_dim=16",
    }
    assert line(error).startswith(said[mode])


def test_a_second_vllm_in_one_process_is_refused_and_the_first_goes_on(engine, tiny):
    with pytest.raises(UserError, match=r"one vLLM runs in this process already; another needs engine.mode=server"):
        Vllm(**SMALL).load(tiny)
    assert len(drawn(engine, contexts())) == 6
