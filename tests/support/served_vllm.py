"""A real OpenAI-compatible server of vLLM with the bundled policy on a loopback port, and whether anything of it is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

from selfevo.models import BUNDLED

NAME = "tiny"
START_SECONDS, END_SECONDS = 300, 60


class VllmServer:
    """One server in a process group of its own; `up` starts it where it is not running."""

    def __init__(self, log: Path, key: str):
        self.log, self.key = log, key
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What base_url is to be."""
        return f"http://127.0.0.1:{self.port}/v1"

    def up(self) -> VllmServer:
        """Start it, and return once it answers."""
        if self.process is not None:
            return self
        self.port = free_port()
        options = {
            "host": "127.0.0.1", "port": self.port, "served-model-name": NAME, "dtype": "float32", "max-model-len": 1024,
            "max-num-seqs": 32, "generation-config": "vllm",
        }  # fmt: skip
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(BUNDLED[NAME]), "--enforce-eager"]
        command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        environment = {
            **os.environ, "VLLM_API_KEY": self.key, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, f"vllm serve ended: {self.log.read_text()[-3000:]}"
            assert time.monotonic() < end, f"vllm serve does not answer: {self.log.read_text()[-3000:]}"
            time.sleep(0.2)
        return self

    def answers(self) -> bool:
        """Whether it is there and well."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"http://127.0.0.1:{self.port}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def down(self) -> int | None:
        """End it and all it started; returns its process group, for `members`."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        group = process.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + END_SECONDS
            while members(group) and time.monotonic() < end:
                try:
                    os.killpg(group, number)
                except ProcessLookupError:
                    break
                process.poll()
                time.sleep(0.2)
        process.wait(timeout=END_SECONDS)
        return group


def members(group: int) -> list[int]:
    """Processes of a group that are alive (one that has ended and was not waited for is not)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
