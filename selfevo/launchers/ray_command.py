"""The command's side of a run under Ray: starts the ranks, shows what the main one says, passes Ctrl-C on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..crew import cause
from ..errors import SelfevoError, Stopped
from ..ranks import Zero
from ..stopping import hearing
from ..surroundings import Surroundings, Where
from .job import Job
from .ray_desk import Desk
from .ray_rank import Part, Rank, Said
from .ray_room import Room
from .ray_screen import Screen
from .torchrun import GRACE, DeadRank

if TYPE_CHECKING:
    from ..spec import RunSpec

TICK = 0.2
"""Seconds between two looks at whether Ctrl-C was pressed."""
LAST_WORDS = 10.0
"""Seconds that the other ranks have after one has failed: what ended them all, the main rank tells best."""


class Command:
    """One run, seen from the command that started it."""

    def __init__(self, job: Job, spec: RunSpec, room: Room, zero: Zero | None, wait: float):
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.job, self.room, self.zero, self.wait, self.spec = job, room, zero, wait, spec
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self.desk = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote()
        remote = ray.remote(Rank)
        self.ranks = [remote.options(**room.options("rank", i)).remote(self.desk) for i in range(room.count("rank"))]
        self.screen = Screen(spec, job)
        self.asked: list[float] = []
        self._passed_on = 0
        self._hearing = self.desk.hear.remote()
        self._value: float | None = None

    def run(self) -> float | None:
        """To the end of the run; the value a sweeper optimises. Raises what ended it."""
        import ray

        with self._hearing_signals():
            try:
                places = self._gather_ranks()
                self._said(*self._follow(self._start(places), places))
                return self._value
            finally:
                for actor in (*self.ranks, self.desk):
                    ray.kill(actor)
                self.screen.close()

    def _gather_ranks(self) -> list[Where]:
        """Wait until all ranks are there."""
        import ray

        surroundings = Surroundings.here()  # not told when an actor is made: that Ray would write down, tokens and all
        hellos = [rank.hello.remote(surroundings) for rank in self.ranks]
        end = time.monotonic() + self.wait
        while True:
            _, missing = ray.wait(hellos, num_returns=len(hellos), timeout=TICK)
            if self.asked:
                raise KeyboardInterrupt
            if not missing:
                break
            if time.monotonic() > end:
                raise SelfevoError(f"rank {hellos.index(missing[0])} of the run has not started within {self.wait:g} s (launcher.wait)")
        places = []
        for index, hello in enumerate(hellos):
            try:
                places.append(ray.get(hello))
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                raise SelfevoError(f"rank {index} of the run could not start ({cause(error)})") from None
        return places

    def _start(self, places: Sequence[Where]) -> dict[Any, int]:
        """Tell every rank its part; {answer to come: rank}."""
        import ray

        try:
            port = ray.get(self.ranks[0].port.remote())
        except ray.exceptions.RayError as error:
            raise SelfevoError(f"rank 0 of the run could not start ({cause(error)})") from None
        nodes = [place.node for place in places]
        running = {}
        for index, rank in enumerate(self.ranks):
            local = nodes[:index].count(nodes[index]), nodes.count(nodes[index])
            if self.room.needs[0].resources.get("GPU"):
                local = 0, 1  # each rank sees its own GPUs only, as the first ones
            part = Part(self.job.spec, str(self.job.root), self.job.resume, self.zero, index, len(self.ranks), local, tuple(places), port,
                        self.room, self.wait, self.screen.live)  # fmt: skip
            running[rank.run.remote(part)] = index
        return running

    def _follow(self, running: dict[Any, int], places: Sequence[Where]) -> tuple[dict[int, Said], str | None]:
        """Until all ranks have ended, or have had the time to: how they did, and which one died without a word."""
        import ray

        said: dict[int, Said] = {}
        died: str | None = None
        end = float("inf")
        while running and time.monotonic() < end:
            done, _ = ray.wait([*running, self._hearing], timeout=TICK)
            for ref in done:
                if ref not in running:
                    self._hear()
                    continue
                index = running.pop(ref)
                try:
                    said[index] = ray.get(ref)
                except ray.exceptions.RayTaskError as error:
                    said[index] = Said(None, f"rank {index}: {' '.join(str(error.cause).split())[:300]}", SelfevoError.exit_code)
                except ray.exceptions.RayError as error:
                    died, end = died or f"rank {index} of the run ended: {places[index]} ({cause(error)})", 0.0
                    continue
                if said[index].status:
                    end = min(end, time.monotonic() + LAST_WORDS)
            end = min(end, self._pass_signals_on())
        last = time.monotonic() + LAST_WORDS
        while 0 in said and self.screen.heard < said[0].told and time.monotonic() < last:  # its last words may still be on their way
            if ray.wait([self._hearing], timeout=TICK)[0]:
                self._hear()
        return said, died

    def _hear(self) -> None:
        """Show what has come, and listen on."""
        import ray

        try:
            self.screen.show(ray.get(self._hearing))
        except ray.exceptions.RayError as error:
            said = f"the process between the command and the ranks ended ({cause(error)})"
            raise DeadRank(f"{said}; the last commit stands, continue with: selfevo resume {self.job.root}") from None
        self._hearing = self.desk.hear.remote()

    def _pass_signals_on(self) -> float:
        """Tell the ranks of Ctrl-C; when to stop waiting for them. An output that nobody reads any more stops them at once."""
        if self.screen.unread is not None and len(self.asked) < 2:
            self.asked += [time.monotonic()] * 2
        if len(self.asked) > self._passed_on:
            self._passed_on = len(self.asked)
            self.desk.stop.remote(self._passed_on)
        return 0.0 if len(self.asked) > 2 else self.asked[1] + GRACE if len(self.asked) > 1 else float("inf")

    def _said(self, said: dict[int, Said], died: str | None) -> None:
        failed = [said[i] for i in sorted(said) if said[i].status]
        resume = f"continue with: selfevo resume {self.job.root}"
        if self.screen.unread is not None:
            raise self.screen.unread
        if died is not None and len(self.asked) < 2:
            raise DeadRank(f"{died}; its last commit stands, {resume}")
        if failed:
            error = SelfevoError(failed[0].error or "the run failed")
            error.exit_code = failed[0].status
            error.printed = failed[0].printed  # type: ignore[attr-defined]
            raise error
        if 0 not in said:
            raise Stopped(f"stopped at the last commit; {resume}")
        self._value = said[0].value

    def _hearing_signals(self) -> AbstractContextManager[None]:
        """Note when SIGINT and SIGTERM come: the loop passes them on."""
        return hearing(lambda number, frame: self.asked.append(time.monotonic()))
