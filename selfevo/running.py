"""The run: builds the live world from a spec, walks the loop, commits every stage, and can pick up where a kill left it."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checkpoints
from .assembling import assemble
from .collecting import without_collector
from .commits import commit_stage, read_rows, restore_text
from .context import StageCtx
from .errors import SelfevoError, Stopped, TrainingError
from .forks import forked
from .loop import Block, Until, segment
from .observer import Audience, Observer
from .overlap import Overlap
from .place import Place
from .ranks import Ranks
from .records import digest
from .references import TableRef
from .spec.check import dump
from .stages import Outcome, Stage
from .stopping import stop_on_signals
from .store import RunDir
from .store_ranks import ranked
from .versions import from_line
from .world import World

if TYPE_CHECKING:
    from .spec import RunSpec


class Run:
    """One run of one spec in one directory."""

    def __init__(
        self, spec: RunSpec, store: RunDir, observers: list[Observer], resumed: bool, ranks: Ranks | None = None,
        place: Place | None = None, stopping: threading.Event | None = None,
    ):  # fmt: skip
        self.spec, self.store, self.resumed = spec, store, resumed
        self.audience = Audience(observers)
        self.iterations = max(1, sum(b.limit for b in spec.loop.do if isinstance(b, Block) and b.loops))
        self.world = World(spec.seed, self.iterations, spec.roles, spec.prompts, store.root, ranks, place)
        self.stages: dict[str, Stage] = {}
        self.overlap = Overlap(spec, store, self.world)
        self.started = time.perf_counter()
        self.stopping = threading.Event() if stopping is None else stopping
        self._forks = 0
        self._replaying_from = -1

    def build(self) -> None:
        """Construct every component, load every policy, and connect them with this run."""
        world = self.world
        self.stages = assemble(self.spec, world, partial(self.audience.tell, "note"))
        world.progress = partial(self.audience.tell, "progress")
        world.executions.read = lambda path, stage: read_rows(self.store, path, stage)
        self.overlap.share_engines(self.stages)
        engines = world.engines.values()
        known = all(hasattr(engine, "alone") or not getattr(engine, "needs_weights", False) for engine in engines)
        if known and world.ranks.count == 1 and world.place.here and not self.overlap.points:
            for engine in (e for e in engines if hasattr(e, "alone")):
                engine.alone = True

    def execute(self) -> None:
        """Walk the whole loop. Raises Stopped after a clean stop, or whatever ended the run."""
        if self.resumed:
            self._replaying_from = checkpoints.restore(self.store, self.world, self.stages)
        for item in self.spec.loop.do:
            assert isinstance(item, Block)
            self._block(item, "", 0, {}, last=True)
        checkpoints.save(self.store, self.world, self.stages, self.spec.checkpoint, final=True)
        self.store.settle()
        if self.store.entry("", "end") is None:
            self.store.commit({"path": "", "stage": "end", "seconds": {k: round(v, 3) for k, v in self.spent().items()}})

    def end(self, status: str) -> None:
        """Close the directory and say how the run ended."""
        lost = self.store.close()
        if lost is not None:
            with suppress(SelfevoError):  # what ended the run is said elsewhere
                self.audience.tell("note", f"what was still to be written was not: {lost}")
        self.audience.tell("finish", status, self.spent())

    def spent(self) -> dict[str, float]:
        """Seconds by kind of work; with overlap, how many of them passed beside others; and the wall's, "total"."""
        clock = self.world.clock
        beside = {"overlapped": clock.overlapped} if self.overlap.points else {}
        return {**clock.read(), **beside, "total": time.perf_counter() - self.started}

    def _block(self, block: Block, parent: str, iteration: int, each: Mapping[str, Any], last: bool) -> None:
        """Every iteration of a block at path `parent`."""
        with self._entered(block, parent):
            for index in range(block.limit):
                path, now, items = _iteration(block, index, parent, iteration, each)
                final = index == block.limit - 1
                for at, item in enumerate(block.do):
                    if at == self.overlap.point(block) and not final and not self.stopping.is_set():
                        coming = _iteration(block, index + 1, parent, iteration, each)
                        self.overlap.start(self.stages[block.ahead], block.ahead, *coming)
                    every = item.every if isinstance(item, Block) else self.stages[item].every
                    if (index + 1) % every and not final:
                        continue
                    if isinstance(item, Block):
                        self._block(item, path, now, items, final)
                    else:
                        self._stage(item, path, now, items)
                if block.until is not None and self._met(block.until, path):
                    return

    @contextmanager
    def _entered(self, block: Block, parent: str) -> Iterator[None]:
        """Remember the versions a block was entered with (`solver@block`), and give it private copies of what it forks."""
        checkpoints.keep_entered(self.store, self.world, block.name, parent, _named_with(self.spec.raw, block.name))
        if not block.fork:
            yield
            return
        self._forks += 1
        try:
            with forked(self.world, self.stages, block.fork, block.adopt):
                yield
        finally:
            self._forks -= 1

    def _met(self, until: Until, path: str) -> bool:
        if until.metric:
            values = self.world.history.get(until.metric, [])
            return bool(values) and until.met(values[-1])
        return until.met(len(until.where.select(self.world.table(TableRef.parse(until.rows), path))))

    def _stage(self, name: str, path: str, iteration: int, each: Mapping[str, Any]) -> None:
        stage = self.stages[name]
        ctx = StageCtx(self.world, path, name, iteration, each)
        entry = self.store.entry(path, name)
        if entry is not None:
            self._replay(stage, ctx, entry)
            return
        if self.world.ranks.agree(self.stopping.is_set()):
            self.store.settle()
            checkpoints.save(self.store, self.world, self.stages, self.spec.checkpoint, final=True)
            raise Stopped(f"stopped before {ctx.where}; continue with: selfevo resume {self.store.root}")
        self.audience.tell("stage", path, name, stage.kind, iteration, self.iterations)
        before, began = self.world.clock.read(), time.perf_counter()
        versions = self.overlap.versions(ctx)
        try:
            outcome = self._outcome(stage, ctx)
        except TrainingError:  # its weights are those of the version before: they go to disk, whatever `checkpoint.every` says
            checkpoints.save(self.store, self.world, self.stages, self.spec.checkpoint, final=True)
            raise
        seconds = time.perf_counter() - began
        for kind, value in self.world.clock.read().items():
            if value - before[kind] > 0:
                ctx.log(f"time/{kind}", round(value - before[kind], 6))
        line = {
            "path": path,
            "stage": name,
            "kind": stage.kind,
            "iteration": iteration,
            "versions": versions,
            "seconds": round(seconds, 6),
            "metrics": ctx.metrics,
        }
        with self.world.clock.span("io"):
            line = dict(commit_stage(self.store, self.world, self.stages, ctx, outcome, line, partial(self.audience.tell, "line")))
        self._committed(line)
        if not self.world.ranks.main:
            for version in (v for v in outcome.versions if v.kind == "text"):  # weights were made here too
                restore_text(self.store, self.world, version)
                self.world.lineages.add(version, name)
        self.world.promote(outcome.promotions)
        self.world.executions.add(path, name, outcome.rows)
        if outcome.versions or outcome.promotions:
            self._checkpoint()

    def _outcome(self, stage: Stage, ctx: StageCtx) -> Outcome:
        """Weights are trained by every rank. Anything else is the main rank's work: the others serve its engines, then hear of it."""
        ranks = self.world.ranks

        def work() -> Outcome:
            early = self.overlap.take(ctx)
            return stage.run(ctx) if early is None else early

        if ranks.count == 1 or (stage.kind == "train" and stage.policy is not None):  # type: ignore[attr-defined]
            return work()
        outcome, ctx.metrics = ranks.lead(lambda: (work(), ctx.metrics), self.world.answer)
        return outcome

    def _checkpoint(self) -> None:
        if not self._forks:  # a fork's weights may be dropped: the next checkpoint is after it
            with self.world.clock.span("io"):
                checkpoints.save(self.store, self.world, self.stages, self.spec.checkpoint)

    def _replay(self, stage: Stage, ctx: StageCtx, entry: Mapping[str, Any]) -> None:
        """Take a committed stage as done; a weight update after the last checkpoint is computed again from its committed rows."""
        line = self._line(ctx.path, ctx.stage)
        weights = any(v["kind"] == "weights" for v in entry.get("versions", ()))
        beyond = self.store.place(ctx.path, ctx.stage) > self._replaying_from
        if weights and beyond:
            self.audience.tell("note", f"recomputing {ctx.where}")
            stage.run(ctx)
            kept = {k: v for k, v in line["metrics"].items() if not k.startswith("time/")}
            if kept != ctx.metrics:
                changed = sorted(k for k in kept.keys() | ctx.metrics.keys() if kept.get(k) != ctx.metrics.get(k))
                self.audience.tell(
                    "note",
                    f"{ctx.where}: recomputed metrics differ from the committed ones ({', '.join(changed[:4])}); "
                    "the machine or its thread count may have changed",
                )
        else:
            for version in map(from_line, entry.get("versions", ())):
                restore_text(self.store, self.world, version)
                self.world.lineages.add(version, ctx.stage)
        self.world.promote(entry.get("promotions", {}))
        self.world.executions.add(ctx.path, ctx.stage, None)
        self._committed(line)
        checkpoints.resync(self.world, entry)
        if beyond and (weights or entry.get("promotions")):
            self._checkpoint()  # the kill may have come between the commit and its checkpoint

    def _line(self, path: str, stage: str) -> dict[str, Any]:
        if not hasattr(self, "_lines"):
            self._lines = {(m["path"], m["stage"]): m for m in self.store.metrics()}
        return self._lines[path, stage]

    def _committed(self, line: Mapping[str, Any]) -> None:
        for name, value in line["metrics"].items():
            self.world.history.setdefault(name, []).append(value)


def _iteration(block: Block, index: int, parent: str, iteration: int, each: Mapping[str, Any]) -> tuple[str, int, Mapping[str, Any]]:
    """An iteration of a block at path `parent`: its path, the number of the run's iteration, and the items of `each` blocks."""
    path = "/".join(filter(None, (parent, segment(block, index))))
    items = each if block.each is None else {**each, block.name: block.each[index]}
    return path, index if block.loops and not parent else iteration, items


def _named_with(node: Any, alias: str) -> set[str]:
    """Names that a spec refers to as `name@alias`."""
    if isinstance(node, Mapping):
        return set().union(*(_named_with(v, alias) for v in node.values()), *(_named_with(k, alias) for k in node))
    if isinstance(node, (list, tuple)):
        return set().union(*(_named_with(v, alias) for v in node))
    return set(re.findall(rf"([\w-]+)@{re.escape(alias)}\b", node)) if isinstance(node, str) else set()


def execute(
    spec: RunSpec, root: Path, resume: bool = False, observers: list[Observer] | None = None, ranks: Ranks | None = None,
    place: Place | None = None, stopping: threading.Event | None = None,
) -> Run:  # fmt: skip
    """Start a run in a new directory, or resume the one that is there, on these processes (default: those of the environment), its
    engines and verifiers at `place` (default: here). `stopping` is set by whoever wants it to stop after a stage. Returns the finished
    run; raises what ended it early."""
    from .environment import describe, source_diff

    ranks = Ranks() if ranks is None else ranks
    told = {**spec.raw, "launcher": {k: v for k, v in spec.launcher.items() if k != "node"}}
    ranks.same(digest(json.dumps(told, sort_keys=True)), "the spec")  # as text: a spec may hold inf
    store = ranked(ranks, lambda kind: kind.open(root) if resume else kind.create(root, dump(spec), describe(), source_diff()))
    run = Run(spec, store, list(observers or ()), resume, ranks, place, stopping)
    status = "failed"
    try:
        with stop_on_signals(run.stopping, lambda text: run.audience.tell("note", text)):
            run.audience.tell("start", spec, root, resume)
            with run.world.clock.span("start"), without_collector(freeze=True):
                run.build()
            run.execute()
        status = "done"
    except KeyboardInterrupt:
        status = "stopped"
        raise Stopped(f"stopped at the last commit; continue with: selfevo resume {root}") from None
    except Stopped:
        status = "stopped"
        raise
    except SelfevoError as error:
        status = "stopped" if error.exit_code == Stopped.exit_code else "failed"
        raise
    finally:
        run.overlap.close()
        run.world.close()
        run.end(status)
    return run
