"""The plan of a run: what it holds in memory, what it has to do, and whether it fits. docs/planning.md has every formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..loop import Block
from ..protocols import each_item
from ..references import TableRef
from ..roles import split_ref
from .cluster import GIB, Cluster
from .launch import Launch
from .memory import Item, host, items
from .policies import Held, held, other_version
from .serving import Serving, serving
from .training import Fit, Row, fit
from .work import NONE, Range, executions, spread, table_rows

if TYPE_CHECKING:
    from ..spec import RunSpec

PROMPT = 256
"""Tokens of a prompt where nobody says how many (ours)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that was reckoned. prompt, reply: mean tokens, for work and times; memory is planned for the longest replies there may
    be. runs: executions of each stage. rows: of one execution of each rollout and score stage. host: bytes per node."""

    spec: RunSpec
    cluster: Cluster
    launch: Launch
    prompt: int
    reply: float
    policies: Mapping[str, Held]
    fits: list[Fit]
    served: Mapping[str, Serving]
    runs: Mapping[str, Range]
    rows: Mapping[str, Range]
    items: list[Item]
    host: Mapping[str, float]

    @property
    def room(self) -> float:
        """Bytes that one process may be planned to use: of its GPU, or of a machine's memory."""
        return self.cluster.room / (1 if self.cluster.gpus else self.launch.processes)

    @property
    def gpus(self) -> int:
        """GPUs that are taken while it runs."""
        if not self.cluster.gpus:
            return 0
        apart = sum(s.gpus for s in self.served.values() if s.apart)
        return max([self.launch.world, *(s.gpus for s in self.served.values() if not s.apart)]) + apart

    def total(self, phase: str) -> float:
        """Bytes per process in "train" or "generate"."""
        return sum(getattr(item, phase) for item in self.items)

    @property
    def unplanned(self) -> list[str]:
        """Stages that train weights in a way of which nothing is known here."""
        known = {f.stage for f in self.fits}
        weights = {n for n, node in self.spec.stages.items() if node["kind"] == "train" and node.get("policy") in self.policies}
        return sorted(weights - known)

    @property
    def problems(self) -> list[str]:
        """Why it cannot run on this cluster, in words; empty when it can."""
        c, out = self.cluster, []
        if c.gpus:
            out += self._places()
        unit = "per GPU" if c.gpus else "per process"
        for phase, word in (("train", "training"), ("generate", "generating")):
            if (phase == "generate" or self.fits) and self.total(phase) > self.room:
                out.append(f"{word} needs {self.total(phase) / GIB:.1f} GiB {unit}, {self.room / GIB:.1f} can be had")
        for name, s in self.served.items():
            if s.kind == "vllm" and s.room < self.prompt + self.reply:
                path = f"engines.{name}" if name else "engine"
                out.append(f"{path}.memory_share leaves room for {s.room:,.0f} tokens beside {s.weights / GIB:.1f} GiB of weights per GPU")
        needed = sum(self.host.values()) / GIB
        if needed > c.host_memory:
            out.append(f"{needed:.0f} GiB of host memory per node are needed, {c.host_memory:.0f} can be had")
        return out

    def _places(self) -> list[str]:
        """Processes and replicas beyond the GPUs there are."""
        c, out = self.cluster, []
        if any((f.policy.adapter and self.launch.zero) or (f.optimizer.value_head and self.launch.zero == 3) for f in self.fits):
            out.append(f"launcher.zero is {self.launch.zero}: adapters go with stage 0, critics with stages 0 to 2")
        if self.launch.processes > c.gpus:
            out.append(f"launcher.processes is {self.launch.processes}, expected at most {c.gpus}, the GPUs of a node")
        if self.launch.nodes > c.nodes:
            out.append(f"launcher.nodes is {self.launch.nodes}, expected at most {c.nodes}")
        if self.launch.engines and self.gpus > c.gpus * c.nodes:
            out.append(f"launcher: ranks and engines take {self.gpus} GPUs, expected at most {c.gpus * c.nodes}")
        for name, s in self.served.items():
            path = f"engines.{name}" if name else "engine"
            if s.kind == "vllm" and s.gpus > c.gpus and not self.launch.engines:
                out.append(f"{path}: tensor_parallel x replicas is {s.gpus}, expected at most {c.gpus}, the GPUs of a node")
            heads = {p.name: p.shape.heads for p in self.policies.values() if p.shape.heads % s.group}
            out += [f"{path}.tensor_parallel is {s.group}, expected a divisor of the {n} heads of {p}" for p, n in heads.items()]
            if s.apart and s.share > self.room:
                out.append(f"{path}: {s.share / GIB:.1f} GiB per GPU, {self.room / GIB:.1f} can be had")
        return out


def make(
    spec: RunSpec, cluster: Cluster, prompt: int = PROMPT, reply: float | None = None, launch: Launch | None = None,
    changes: Mapping[str, Any] | None = None, engine: Mapping[str, Any] | None = None,
) -> Plan:  # fmt: skip
    """The plan of a checked spec. `reply`: half the longest one by default. `launch`, `changes` of the learners' settings, and settings
    of the run's `engine` stand in for the spec's own, to try others. Raises UserError for a model whose shape is not known."""
    launch = Launch.of(spec.launcher, cluster.gpus) if launch is None else launch
    policies = {name: found for name, node in spec.policies.items() if (found := held(name, node)) is not None}
    longest = max((role.max_tokens for role in spec.roles.values()), default=1)
    rows = table_rows(spec.stages)
    runs = executions(spec.loop, {name: int(node.get("every") or 1) for name, node in spec.stages.items()}, rows)
    fits = []
    for name, node in spec.stages.items():
        if node["kind"] == "train" and node.get("policy") in policies:
            replies = (r.max_tokens for r in spec.roles.values() if split_ref(r.policy)[0] == node["policy"])
            row = Row(_group(spec, node), prompt, max(replies, default=longest))
            made = fit(name, node["optimizer"], policies[node["policy"]], launch, _rows_read(spec, node, rows), row, changes or {})
            fits += [made] if made is not None else []
    served = _served(spec, {**spec.engine, **(engine or {})}, policies, cluster, launch, prompt)
    frozen = {r for f in fits for r in f.versions} | {r.policy for r in spec.roles.values() if other_version(r.policy)}
    return Plan(
        spec, cluster, launch, prompt, longest / 2 if reply is None else reply, policies, fits, served, runs, rows,
        items(policies, fits, served, frozen, launch), host(policies, fits, served, cluster, launch),
    )  # fmt: skip


def _group(spec: RunSpec, node: Mapping[str, Any]) -> int:
    """Rows per task of the rollout behind a train stage's first table."""
    name = TableRef.parse(next(each_item(node["from"]))).stage
    for _ in spec.stages:
        stage = spec.stages.get(name, {})
        if stage.get("kind") != "score":
            return int(stage.get("group") or 1)
        name = TableRef.parse(next(each_item(stage["of"]))).stage
    return 1


def _rows_read(spec: RunSpec, node: Mapping[str, Any], rows: Mapping[str, Range]) -> Range:
    """Rows that one execution of a train stage reads."""
    blocks = {b.name: b for b in spec.loop.blocks()}
    out = NONE
    for ref in each_item(node["from"]):
        parsed = TableRef.parse(ref)
        found = spread(ref, rows.get(parsed.stage, NONE))
        if parsed.block in blocks:
            found = _of_block(blocks[parsed.block], parsed, node.get("where") or {}, found)
        out += Range(0, found.high) if node.get("where") and parsed.block not in blocks else found
    return out


def _of_block(block: Block, ref: TableRef, where: Mapping[str, Any], each: Range) -> Range:
    """All executions of a block's latest run: of one that ends with `at_least` matching rows, that many and less than one batch more."""
    until = block.until
    if until is None or until.at_least is None or until.rows != f"{ref.block}/{ref.stage}" or dict(until.where.conditions) != dict(where):
        return Range(0 if where else each.low, each.high * block.limit)
    most = each.high * block.limit
    return Range(min(until.at_least, most), min(until.at_least + each.high - 1, most))


def _served(
    spec: RunSpec, engine: Mapping[str, Any], policies: Mapping[str, Held], cluster: Cluster, launch: Launch, prompt: int
) -> dict[str, Serving]:
    """By engine ("" is the run's), for the role that asks most of it."""
    out: dict[str, Serving] = {}
    ahead = any(block.ahead for block in spec.loop.blocks())
    for role in spec.roles.values():
        policy, name = policies.get(split_ref(role.policy)[0]), role.engine or ""
        if policy is not None:
            node = spec.engines[name] if name else engine
            made = serving(node, policy.shape, policy.width, cluster, launch, prompt, role.max_tokens, ahead)
            if made is not None and (name not in out or made.weights + made.cache > out[name].weights + out[name].cache):
                out[name] = made
    return out
