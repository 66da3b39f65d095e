"""vLLM as a server: a child process on this machine's loopback interface."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import EngineError, UserError
from .vllm_client import Client, Stalled
from .vllm_weights import scratch
from .vllm_words import VAGUE, Ask, Said, in_our_words

HOST = "127.0.0.1"
NAME = "policy"
"""What the server calls the model."""
FIRST = {"model": NAME, "prompt": [0], "max_tokens": 1, "logprobs": 0}
"""The first request: a token with its log-prob, as every later one wants them."""
RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher tells training ranks: vLLM would take it for its own."""
ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",  # new weights, sleep and an empty prefix cache are asked for through its development endpoints
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
ERROR = re.compile(r"\b(\w*(?:Error|Exception|Interrupt)): (.+)")


class Server:
    """A running `vllm serve`. Its whole process group ends with `close`, and when this process dies."""

    in_memory = False

    def __init__(
        self,
        folder: Path,
        arguments: Mapping[str, Any],
        port: int,
        gpus: Sequence[int] | None,
        start_seconds: float,
        stall_seconds: float,
        log: str | None,
    ):
        """`arguments`: vLLM's engine arguments. Raises UserError for a port in use, EngineError when the server does not come up."""
        self._port = _free(port)
        self._scratch = scratch()
        self._log = Path(log) if log is not None else self._scratch / "log.txt"
        self._adapter: str | None = None
        environment = {k: v for k, v in os.environ.items() if k not in RANKS} | ENVIRONMENT
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        if gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
        try:
            out = self._log.open("ab")
        except OSError as error:
            self._forget()
            raise UserError(f"engine.log: '{log}' cannot be written ({error.strerror})") from error
        self._start = out.tell()
        command = [sys.executable, "-m", "selfevo.engines.vllm_guard", str(self._scratch), *self._command(folder, arguments)]
        with out:
            self._guard = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment, start_new_session=True
            )
        at_once = 2 * int(arguments["max_num_seqs"]) * int(arguments["data_parallel_size"])
        self._client = Client(f"http://{HOST}:{self._port}", at_once, stall_seconds, self._alive, self._last_error)
        try:
            self._wait(start_seconds)
        except BaseException:
            self.close()
            raise

    def ask(self, asks: Sequence[Ask], adapter: str | None) -> list[Said]:
        """Answers, in order."""
        model = NAME if adapter is None else adapter
        bodies = [{"model": model, "prompt": list(a.prompt), "return_token_ids": True, **a.settings} for a in asks]
        replies = self._client.all("/v1/completions", bodies)
        return [_said(reply["choices"][0], ask.tail) for reply, ask in zip(replies, asks, strict=True)]

    def reload(self, folder: Path) -> None:
        """Take the weights of a checkpoint."""
        self._client.post("/collective_rpc", {"method": "take_weights", "kwargs": {"folder": str(folder)}})
        self._forget_prefixes()

    def adapt(self, name: str, folder: Path) -> None:
        """Take an adapter in, in place of those before it."""
        old, self._adapter = self._adapter, None
        if old is not None:
            self._client.post("/v1/unload_lora_adapter", {"lora_name": old})
        self._client.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        self._adapter = name

    def sleep(self, level: int) -> None:
        """Give GPU memory back."""
        self._client.post(f"/sleep?level={level}")

    def wake(self, part: str) -> None:
        """Take memory again for "weights" or "kv_cache"."""
        self._client.post(f"/wake_up?tags={part}")

    def close(self) -> None:
        """End every process of the server."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        try:
            self._guard.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
        self._forget()

    def _command(self, folder: Path, arguments: Mapping[str, Any]) -> list[str]:
        flags = {"host": HOST, "port": self._port, "served_model_name": NAME, "api_server_count": 1, **arguments}
        command = [sys.executable, "-m", "selfevo.engines.vllm_serve", "serve", str(folder), "--disable-uvicorn-access-log"]
        for name, value in flags.items():
            flag = name.replace("_", "-")
            if value is None:
                continue
            command += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
        return command

    def _forget_prefixes(self) -> None:
        if not self._client.post("/reset_prefix_cache")["success"]:
            raise EngineError("vLLM did not empty its prefix cache: replies would be continued from the old weights")

    def _wait(self, seconds: float) -> None:
        """Until the server has given its first reply, which compiles what it needs for one: that may take longer than a reply ever will."""
        until = time.monotonic() + seconds
        late = f"the vLLM server did not start within {seconds:g} s (engine.start_seconds)"
        while not self._healthy():
            if time.monotonic() > until:
                raise EngineError(f"{late}{self._last_error()}")
            time.sleep(0.1)
        try:
            self._client.post("/v1/completions", FIRST, max(1.0, until - time.monotonic()))
        except Stalled as error:
            raise EngineError(f"{late}: it gave no reply") from error

    def _healthy(self) -> bool:
        """Whether the server answers by now."""
        import httpx

        self._alive()
        try:
            return httpx.get(f"{self._client.url}/health", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _alive(self) -> None:
        if self._guard.poll() is not None:
            raise EngineError(f"the vLLM server ended{self._last_error()}")

    def _last_error(self) -> str:
        """": ValueError: ...": the last error of the log, or its last line."""
        with self._log.open("rb") as file:
            file.seek(self._start)
            lines = file.read().decode(errors="replace").splitlines()
        errors = [f"{m[1]}: {m[2].strip()}" for m in map(ERROR.search, lines) if m is not None and not m[2].startswith(VAGUE)]
        said = errors or [line for line in lines if line.strip()]
        return f": {in_our_words(said[-1])}" if said else ""

    def _forget(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)


def _said(choice: Mapping[str, Any], tail: int) -> Said:
    logprobs = choice.get("logprobs")
    places = choice["prompt_logprobs"][-tail:] if tail else []
    return Said(
        tuple(choice["token_ids"]),
        None if logprobs is None else tuple(logprobs["token_logprobs"]),
        choice["finish_reason"],
        [{int(token): entry["logprob"] for token, entry in place.items()} for place in places],
    )


def _free(port: int) -> int:
    """The port itself, or a free one for 0. Raises UserError when it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"engine.port: {port} cannot be had on {HOST} ({error.strerror}); 0 picks a free one") from error
        return int(probe.getsockname()[1])
