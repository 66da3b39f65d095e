"""What a process on another node of a Ray cluster takes over from the command, and where it is."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import UserError

OWN = ("RAY_", "CUDA_", "PYTHON", "OMP_", "LD_", "_")
"""Beginnings of variables that each machine sets for its own processes."""
GLANCE = 1.0
"""Seconds between two looks at whether this process's node is still there."""


@dataclass(frozen=True)
class Surroundings:
    """What a process on another node takes over from the command: where it imports from, variables that its node does not set, the
    working directory, the command itself."""

    imports: tuple[str, ...]
    variables: Mapping[str, str] = field(repr=False)  # keys and tokens are among them
    folder: str
    command: tuple[str, ...]

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this process."""
        variables = {k: v for k, v in os.environ.items() if not k.startswith(OWN)}
        if "OMP_NUM_THREADS" in os.environ:
            variables["OMP_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"]
        return cls(tuple(sys.path), variables, str(Path.cwd()), tuple(sys.argv))

    def enter(self) -> None:
        """Make them this process's. Raises UserError where the node lacks the working directory.

        A process for which no GPU is reserved must not see one: its neighbours count on theirs. One whose node has ended ends too.
        """
        import ray

        sys.path += [p for p in self.imports if p not in sys.path]
        for name, value in self.variables.items():
            os.environ.setdefault(name, value)
        if "OMP_NUM_THREADS" in self.variables:  # Ray has set it to the reserved CPUs; the user knows better
            os.environ["OMP_NUM_THREADS"] = self.variables["OMP_NUM_THREADS"]
        if not Path(self.folder).is_dir():
            raise UserError(f"launcher ray: node {ray.util.get_node_ip_address()} has no directory {self.folder}; all nodes must share it")
        os.chdir(self.folder)
        if not ray.get_gpu_ids():
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(GLANCE)
    os._exit(1)


@dataclass(frozen=True)
class Where:
    """A process and the node it runs on."""

    address: str
    node: str
    pid: int

    @classmethod
    def here(cls) -> Where:
        """This process."""
        import ray

        return cls(ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id(), os.getpid())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.address}, node {self.node[:8]}"
