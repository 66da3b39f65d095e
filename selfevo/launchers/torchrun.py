"""Torchrun: the run is several processes of this machine, or of several, that train together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ..errors import EXIT_STOPPED, SelfevoError, UserError
from ..ranks import Zero
from ..stopping import hearing
from .job import Job

GRACE = 30.0
"""Seconds that a process has to end when it is told to stop at once."""


class DeadRank(SelfevoError):
    """A process of the run ended without a word (killed, out of memory). The last commit stands. Exit status 3."""

    exit_code = EXIT_STOPPED


class Torchrun:
    """Starts `processes` per machine with PyTorch's torchrun (`torch.distributed.run`). Every rank trains; the first one leads.

    Args:
        processes: per machine; on a GPU machine one for each GPU.
        nodes: machines. On each of them the same command is given, with its own `node` and the same `address`; all must see the run
            directory under the same path.
        node: number of this machine, from 0.
        zero: DeepSpeed ZeRO stage that shares the training state of a policy among ranks; 0: every rank holds all of it, without
            DeepSpeed.
        offload: "optimizer" keeps optimizer state in host memory, "all" the weights too (stage 3).
        address: host:port where the machines meet; one machine finds a free port itself.
        threads: OMP_NUM_THREADS of each process; None: the cores divided by `processes` where there is no GPU.
    """

    def __init__(
        self,
        processes: int = 1,
        nodes: int = 1,
        node: int = 0,
        zero: Literal[0, 1, 2, 3] = 0,
        offload: Literal["none", "optimizer", "all"] = "none",
        address: str | None = None,
        threads: int | None = None,
    ):
        for name, value in (("processes", processes), ("nodes", nodes), ("threads", threads)):
            if value is not None and value < 1:
                raise UserError(f"launcher.{name} must be at least 1, not {value}")
        if not 0 <= node < nodes:
            raise UserError(f"launcher.node is {node}, expected a number from 0 to {nodes - 1}")
        if nodes > 1 and address is None:
            raise UserError("launcher.address: several nodes need the host:port of the first one")
        if address is not None and not (address.rpartition(":")[0] and address.rpartition(":")[2].isdigit()):
            raise UserError(f"launcher.address: '{address}' is not host:port")
        if zero not in (0, 1, 2, 3):
            raise UserError(f"launcher.zero is {zero}, expected 0, 1, 2 or 3")
        if offload != "none" and zero == 0:
            raise UserError(f"launcher.offload: {offload} moves what ZeRO shares, so zero must be 1, 2 or 3")
        if offload == "all" and zero != 3:
            raise UserError("launcher.offload: all moves the weights too, which only zero: 3 shares")
        self.processes, self.nodes, self.node, self.address, self.threads = processes, nodes, node, address, threads
        self.zero = Zero(zero, offload) if zero else None

    def launch(self, job: Job) -> float | None:
        """Run the job on all ranks; the value a sweeper optimises. Raises what ended the main rank, or DeadRank."""
        with tempfile.TemporaryDirectory(prefix="selfevo-") as folder:
            said = Path(folder) / "said.json"
            zero = None if self.zero is None else {"stage": self.zero.stage, "offload": self.zero.offload}
            (Path(folder) / "job.json").write_text(
                json.dumps({"spec": job.spec, "root": str(job.root), "resume": job.resume, "zero": zero, "parent": os.getpid()})
            )
            agent = subprocess.Popen(
                [*self._command(), "-m", "selfevo.commands.rank", folder],
                env=self._environment(), stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
            heard: list[str] = []
            listening = threading.Thread(target=_listen, args=(agent.stderr, heard))
            listening.start()
            with _passing_signals_on(Path(folder), agent):
                status = agent.wait()
                listening.join()
            if said.is_file():
                return _answer(json.loads(said.read_text()))
            if status == 0:
                return None  # another machine leads
            raise DeadRank(f"{_why(heard, status)}; its last commit stands, continue with: selfevo resume {job.root}")

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(self.processes), "--max-restarts", "0"]
        if self.address is None:
            return [*command, "--standalone"]
        host, _, port = self.address.rpartition(":")
        return [*command, "--nnodes", str(self.nodes), "--node-rank", str(self.node), "--master-addr", host, "--master-port", port]

    def _environment(self) -> dict[str, str]:
        threads = self.threads or max(1, (os.cpu_count() or 1) // self.processes)
        given = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)) if self.threads is None else str(threads)}
        return {**os.environ, **given}


def _listen(stream: Any, heard: list[str]) -> None:
    """What ranks say for the user goes to stderr at once; torchrun's own report is kept, to be told in one line."""
    for line in stream:
        if line.startswith("selfevo: "):
            sys.stderr.write(line)
            sys.stderr.flush()
        else:
            heard.append(line)


def _answer(said: dict[str, Any]) -> float | None:
    if said["status"] == 0:
        return said["value"]
    error = SelfevoError(said["text"])
    error.exit_code = said["status"]
    error.printed = said["printed"]  # type: ignore[attr-defined]
    raise error


def _why(heard: list[str], status: int) -> str:
    """torchrun's report of the first process that failed, in one line."""
    ranks = [line.split(":", 1)[1].split()[0] for line in heard if line.strip().startswith("rank ")]
    codes = [line.split(":", 1)[1].strip() for line in heard if line.strip().startswith("exitcode")]
    last = next((line.strip() for line in reversed(heard) if line.strip() and not line.startswith((" ", "=", "-", "E", "W", "I"))), "")
    if ranks and codes:
        return f"rank {ranks[-1]} of the run ended with {codes[-1]}" + (f" ({last})" if "Error" in last else "")
    return f"torchrun ended with status {status}" + (f": {last}" if last else "")


@contextmanager
def _passing_signals_on(folder: Path, agent: subprocess.Popen[str]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks the ranks to stop after this stage; the second ends them. None is left behind."""
    asked: list[int] = []

    def handle(number: int, frame: Any) -> None:
        asked.append(number)
        if len(asked) > 1:
            _end(agent)
            return
        for pid in _ranks(folder):
            _tell(pid, signal.SIGINT)

    try:
        with hearing(handle):
            yield
    finally:
        _end(agent)


def _ranks(folder: Path) -> list[int]:
    return [int(file.name.removeprefix("pid.")) for file in folder.glob("pid.*")]


def _tell(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _end(agent: subprocess.Popen[str]) -> None:
    """torchrun passes SIGTERM on to its processes and waits for them."""
    if agent.poll() is not None:
        return
    agent.terminate()
    try:
        agent.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(agent.pid, signal.SIGKILL)
        agent.wait()
