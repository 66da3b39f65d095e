"""Ray: training ranks, engine replicas and verifier workers, placed on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..errors import UserError, nearest
from ..ranks import Zero
from .job import Job

if TYPE_CHECKING:
    from .ray_room import Needs

STRATEGIES = ("pack", "spread", "strict_pack", "strict_spread")
TAKEN = ("CPU", "GPU", "memory", "object_store_memory")


class Ray:
    """Starts a run on a Ray cluster, or on this machine alone. The command waits, shows the run and passes Ctrl-C on.

    Args:
        address: null: a Ray of its own on this machine, ended with the run; "auto" or host:port: a cluster to join from one of its
            machines. All machines need selfevo, and the working directory of the command under the same path.
        ranks: processes that train together; the first one leads.
        zero, offload: as in `Torchrun`.
        engines: replicas of the engines that have weights, each with a copy of the policy; 0: the ranks serve themselves.
        verifiers: workers for the row parts of verifiers; 0: the main rank judges.
        rank_cpus, engine_cpus, verifier_cpus: what each of them reserves; also its threads, unless OMP_NUM_THREADS is set.
        rank_gpus, engine_gpus: null: 1 where the cluster has GPUs, else 0.
        rank_resources, engine_resources, verifier_resources: Ray's custom resources that each of them reserves: they say which machines
            it may run on.
        strategy: of the placement group: "pack" on few machines, "spread" over many, "strict_pack" on one, "strict_spread" one each.
        wait: seconds to wait for room that others hold, and for a process to start.
    """

    def __init__(
        self,
        address: str | None = None,
        ranks: int = 1,
        zero: Literal[0, 1, 2, 3] = 0,
        offload: Literal["none", "optimizer", "all"] = "none",
        engines: int = 0,
        verifiers: int = 0,
        rank_cpus: float = 1.0,
        rank_gpus: float | None = None,
        engine_cpus: float = 1.0,
        engine_gpus: float | None = None,
        verifier_cpus: float = 1.0,
        rank_resources: Mapping[str, float] | None = None,
        engine_resources: Mapping[str, float] | None = None,
        verifier_resources: Mapping[str, float] | None = None,
        strategy: Literal["pack", "spread", "strict_pack", "strict_spread"] = "pack",
        wait: float = 120.0,
    ):
        for name, count, least in (("ranks", ranks, 1), ("engines", engines, 0), ("verifiers", verifiers, 0)):
            if count < least:
                raise UserError(f"launcher.{name} must be at least {least}, not {count}")
        for name, cpus in (("rank_cpus", rank_cpus), ("engine_cpus", engine_cpus), ("verifier_cpus", verifier_cpus), ("wait", wait)):
            if not 0 < cpus < float("inf"):
                raise UserError(f"launcher.{name} must be more than 0, not {cpus:g}")
        for name, gpus in (("rank_gpus", rank_gpus), ("engine_gpus", engine_gpus)):
            if gpus is not None and not 0 <= gpus < float("inf"):
                raise UserError(f"launcher.{name} must be 0 or more, not {gpus:g}")
        if strategy not in STRATEGIES:
            raise UserError(f"launcher.strategy '{strategy}' is not known{nearest(strategy, STRATEGIES)}")
        if address is not None and address != "auto" and not (address.rpartition(":")[0] and address.rpartition(":")[2].isdigit()):
            raise UserError(f"launcher.address: '{address}' is neither auto nor host:port")
        if address is not None and "://" in address:
            raise UserError(f"launcher.address: '{address}' is a Ray client's; give host:port, from a machine of the cluster")
        self.resources = {
            "rank": dict(rank_resources or {}), "engine": dict(engine_resources or {}), "verifier": dict(verifier_resources or {}),
        }  # fmt: skip
        for kind, resources in self.resources.items():
            for name, amount in resources.items():
                if name in TAKEN or not amount > 0:
                    raise UserError(f"launcher.{kind}_resources.{name}: expected a custom resource and a number above 0, got {amount:g}")
        self.address, self.strategy, self.wait = address, strategy, wait
        self.ranks, self.engines, self.verifiers = ranks, engines, verifiers
        self.processes = ranks  # as the check of a spec asks every launcher
        self.cpus = {"rank": rank_cpus, "engine": engine_cpus, "verifier": verifier_cpus}
        self.gpus = {"rank": rank_gpus, "engine": engine_gpus, "verifier": 0.0}
        self.zero = zero_of(zero, offload)

    def launch(self, job: Job) -> float | None:
        """Run the job; the value a sweeper optimises. Raises what ended the main rank, DeadRank, or UserError when there is no room."""
        from ..spec import build, load_text
        from .ray_cluster import connected
        from .ray_command import Command
        from .ray_rank import has_weights
        from .ray_room import reserve

        spec = load_text(job.spec)
        if self.engines and not any(has_weights(build(node)) for node in (spec.engine, *spec.engines.values())):
            raise UserError(f"launcher.engines is {self.engines}, but no engine of this spec serves weights; set it to 0")
        with connected(self.address):
            room = reserve(self.wanted(), self.strategy, self.wait)
            try:
                return Command(job, spec, room, self.zero, self.wait).run()
            finally:
                room.release()

    def wanted(self) -> list[Needs]:
        """What to reserve, on the cluster this process has joined."""
        import ray

        from .ray_room import Needs

        there = 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0
        out = []
        for kind, count in (("rank", self.ranks), ("engine", self.engines), ("verifier", self.verifiers)):
            gpus = self.gpus[kind]
            base = {"CPU": self.cpus[kind], "GPU": there if gpus is None else gpus}
            out.append(Needs(kind, count, {k: v for k, v in {**base, **self.resources[kind]}.items() if v}))
        return out


def zero_of(zero: int, offload: str) -> Zero | None:
    """What `zero` and `offload` of a launcher mean. Raises UserError when they do not go together."""
    from .torchrun import Torchrun

    return Torchrun(zero=zero, offload=offload).zero  # type: ignore[arg-type]  # refused there if it is none of them

