"""Overlap: the rollout of the next iteration runs in a thread while this iteration trains, one step off policy.

It starts where the iteration is about to train weights, from the versions, memories and numbers of that moment, and draws its tasks
there, so that nothing it computes depends on timing. It is committed in its usual place, as any other rollout.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from .clock import Clock
from .context import StageCtx
from .errors import UserError
from .loop import Block
from .protocols import Closing, Completion, Engine, GenerateRequest, Metered, Resting, ScoreRequest, TokenScores, Twinned
from .records import Task
from .roles import split_ref
from .spec.ahead import launch_point, together
from .stages import Outcome, Rollout, Stage
from .store import RunDir
from .versions import Lineages
from .world import World

if TYPE_CHECKING:
    from .policies import LivePolicy
    from .spec import RunSpec

GLANCE = 0.2
"""Seconds between two looks at a rollout that is waited for, to tell how far it is."""


class Dropped(KeyboardInterrupt):
    """Raised inside the thread of a rollout that nobody wants any more. As asyncio knows this base it does not swallow it."""


class Early(threading.Thread):
    """A rollout under way; `ctx` sees the world as it was at the start."""

    def __init__(self, stage: Rollout, ctx: StageCtx):
        super().__init__(name=f"early {ctx.where}", daemon=True)
        self.stage, self.ctx = stage, ctx
        self.tasks: Sequence[Task] = ()
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.seconds = 0.0
        self.moved: tuple[int, int, str] | None = None
        ctx.world.progress = self._move

    def begin(self) -> None:
        """Draw the tasks here and now, then start."""
        try:
            self.tasks = self.stage.draw(self.ctx)
        except Exception as error:  # raised where the rollout itself would have raised it
            self.error = error
        else:
            self.start()

    def run(self) -> None:
        """Play every episode; keep what came out, error or rows."""
        began = time.perf_counter()
        with suppress(Dropped):
            try:
                self.outcome = self.stage.play(self.ctx, self.tasks)
            except BaseException as error:  # raised again by whoever takes the outcome
                self.error = error
        self.seconds = time.perf_counter() - began

    def _move(self, done: int, total: int, what: str) -> None:
        self.moved = (done, total, what)


class Overlap:
    """What runs ahead in one run: at most one rollout at a time."""

    def __init__(self, spec: RunSpec, store: RunDir, world: World):
        self.store, self.world = store, world
        self.points = {b.name: launch_point(b, spec.stages) for b in spec.loop.blocks() if b.ahead}
        self.ahead = {b.ahead for b in spec.loop.blocks() if b.ahead}
        self.early: Early | None = None
        self._engines: dict[str, Engine] = {}
        self._copies: dict[str, LivePolicy] = {}
        self._codecs: dict[str, Any] = {}

    def share_engines(self, stages: Mapping[str, Stage]) -> None:
        """Make the run's engines safe for two threads: a twin for the early rollout where an engine has one, else turns at it.

        Raises UserError where the ranks of a run answer for its engines together: one thread of one rank cannot ask them.
        """
        if not self.points:
            return
        roles = [self.world.role(r) for name in self.ahead for r in stages[name].seats.values()]  # type: ignore[attr-defined]
        if self.world.ranks.count > 1 and any(getattr(self.world.engines[r.engine or ""], "shared", False) for r in roles):
            raise UserError(together(self.world.ranks.count))
        for name, engine in self.world.engines.items():
            if isinstance(engine, Twinned):
                self._engines[name] = engine.twin()
            else:
                lock = threading.Lock()
                self.world.engines[name] = Turns(engine, lock, lambda: self.early is None)
                self._engines[name] = Turns(engine, lock)

    def point(self, block: Block) -> int:
        """The place in `block.do` before which its rollout of the next iteration starts; -1: never."""
        return self.points.get(block.name, -1)

    def start(self, stage: Stage, name: str, path: str, iteration: int, each: Mapping[str, Any]) -> None:
        """Begin the rollout `name` of the coming iteration, unless it is committed already."""
        if not self.world.ranks.main or self.store.entry(path, name) is not None:
            return
        assert isinstance(stage, Rollout) and self.early is None
        self.early = Early(stage, StageCtx(self._view(stage), path, name, iteration, each))
        self.early.begin()

    def take(self, ctx: StageCtx) -> Outcome | None:
        """The outcome of the early rollout if this is the one, after its end; its metrics and seconds go to `ctx` and the run's clock.
        Raises what ended it. None: nothing ran ahead."""
        early = self.early
        if early is None or early.ctx.where != ctx.where:
            return None
        began = time.perf_counter()
        while early.is_alive():
            early.join(GLANCE)
            if early.moved is not None:
                self.world.progress(*early.moved)
        waited = time.perf_counter() - began
        self.early, self.world.pinned = None, {}
        self._copies = {ref: p for ref, p in self._copies.items() if p.version == self.world.live(p.name).version or not p.version.parents}
        if early.error is not None:
            raise early.error
        ctx.metrics.update(early.ctx.metrics)
        beside = max(0.0, early.seconds - waited)
        self.world.clock.add(early.ctx.world.clock.read(), beside)
        ctx.log("time/overlapped", round(beside, 6))
        return early.outcome

    def versions(self, ctx: StageCtx) -> dict[str, str]:
        """{name: id of the version in force} for a stage: an early rollout's are those at its start."""
        early = self.early
        world = early.ctx.world if early is not None and early.ctx.where == ctx.where else self.world
        return world.lineages.current()

    def close(self) -> None:
        """Drop the rollout under way, if any, and wait for its thread: at most for one call that Python cannot interrupt."""
        early, self.early, self.world.pinned = self.early, None, {}
        if early is not None and early.is_alive():
            interrupt(early)
            early.join()

    def _view(self, stage: Rollout) -> World:
        """The world as it is now, for a thread of its own: everything that the run goes on to change is a copy."""
        world = self.world
        view = copy.copy(world)
        view.clock = Clock()
        lineages = world.lineages
        view.lineages = Lineages({n: dict(v) for n, v in lineages.versions.items()}, {n: dict(a) for n, a in lineages.aliases.items()})
        view.history = {name: list(values) for name, values in world.history.items()}
        view.engines = dict(self._engines)
        refs = {world.version_ref(*split_ref(world.role(role).policy)) for role in stage.seats.values()}
        self._copies = {ref: self._copy(ref) for ref in sorted(refs)}
        world.pinned = view._frozen = dict(self._copies)
        # A name that roles use in several versions stands for the live one, if that is among them.
        view.policies = {p.name: p for p in sorted(self._copies.values(), key=lambda p: p.version == world.live(p.name).version)}
        return view

    def _copy(self, ref: str) -> LivePolicy:
        """A frozen copy of a version with a codec of its own, since tokenizers are not for two threads."""
        name, version_id = split_ref(ref)
        if ref not in self._copies:
            live = self.world.live(name)
            # In a resumed run the live weights may be those of a later version, which its walk has yet to reach.
            here = version_id == live.version.id == self.world.loaded.get(name, version_id)
            found = live.clone_frozen() if here else self.world.load_frozen(name, version_id)
            codec = self._codecs.setdefault(name, copy.deepcopy(live.codec))
            return replace(found, codec=codec, tokenizer=getattr(codec, "tokenizer", found.tokenizer))
        return self._copies[ref]


class Turns:
    """One of two users of an engine, each in a thread of its own (`protocols.Engine`): a call loads this user's policy and asks, while
    the other waits. What the engine spends is told to whom it was spent for."""

    def __init__(self, engine: Engine, lock: threading.Lock, may_rest: Callable[[], bool] = lambda: False):
        self.engine, self.lock, self.may_rest = engine, lock, may_rest
        self.capabilities = engine.capabilities
        self._policy: Any = None
        self._spent: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def load(self, policy: Any) -> None:
        """Ask for this policy from now on."""
        self._policy = policy

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """In this user's turn."""
        return self._turn(lambda: self.engine.generate(requests))

    def score(
        self, requests: Sequence[ScoreRequest], want: Literal["sampled", "topk", "full"] = "sampled", k: int = 0
    ) -> list[TokenScores]:
        """In this user's turn."""
        return self._turn(lambda: self.engine.score(requests, want, k))

    def spent(self) -> dict[str, float]:
        """What the engine spent for this user since it was last asked."""
        spent, self._spent = self._spent, {}
        return spent

    def rest(self) -> None:
        """Give memory back, unless the other user still needs it."""
        if isinstance(self.engine, Resting) and self.may_rest():
            self.engine.rest()

    def close(self) -> None:
        """End the engine."""
        if isinstance(self.engine, Closing):
            self.engine.close()

    def _turn(self, ask: Callable[[], Any]) -> Any:
        with self.lock:
            self.engine.load(self._policy)
            try:
                return ask()
            finally:
                for name, value in self.engine.spent().items() if isinstance(self.engine, Metered) else ():
                    self._spent[name] = self._spent.get(name, 0.0) + value


def interrupt(thread: threading.Thread) -> None:
    """Raise Dropped in a thread, at its next step of Python: what Ctrl-C does to the main one."""
    import ctypes

    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Dropped))
