"""The command's side of a run under Ray: joins the cluster, starts the ranks, shows what the main one says, passes Ctrl-C on."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from ..crew import Surroundings, Where, cause
from ..errors import SelfevoError, Stopped, UserError
from ..ranks import Zero
from ..view import View
from .job import Job
from .ray_desk import Desk, Message
from .ray_rank import Part, Rank, Said
from .ray_room import Room
from .torchrun import GRACE, DeadRank

if TYPE_CHECKING:
    from ..spec import RunSpec

TICK = 0.2
"""Seconds between two looks at whether Ctrl-C was pressed."""
LAST_WORDS = 10.0
"""Seconds that the other ranks have after one has failed: what ended them all, the main rank tells best."""
KNOCK = 10.0
"""Seconds that a cluster has to answer at all."""
GOSSIP = "ray_listen_error_messages"
"""Ray's thread that prints what happens to workers; selfevo says it in its own words."""


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
                raise SelfevoError(f"rank {hellos.index(missing[0])} of the run has not started within {self.wait:g} s")
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
        hearing = self.desk.hear.remote()
        while running and time.monotonic() < end:
            done, _ = ray.wait([*running, hearing], timeout=TICK)
            for ref in done:
                if ref is hearing:
                    self.screen.show(ray.get(ref))
                    hearing = self.desk.hear.remote()
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
        if 0 in said:  # what it said last may still be on its way
            last = time.monotonic() + LAST_WORDS
            while self.screen.heard < said[0].told and time.monotonic() < last:
                if ray.wait([hearing], timeout=TICK)[0]:
                    self.screen.show(ray.get(hearing))
                    hearing = self.desk.hear.remote()
        return said, died

    def _pass_signals_on(self) -> float:
        """Tell the ranks of Ctrl-C; when to stop waiting for them."""
        asked = len(self.asked) + (1 if self.screen.unread else 0) * 2
        if asked > self._passed_on:
            self._passed_on = asked
            self.desk.stop.remote(min(asked, 2))
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

    @contextmanager
    def _hearing_signals(self) -> Iterator[None]:
        """Note when SIGINT and SIGTERM come: the loop passes them on."""

        def handle(number: int, frame: Any) -> None:
            self.asked.append(time.monotonic())

        main = threading.current_thread() is threading.main_thread()
        before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)} if main else {}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)


class Screen:
    """Shows what the main rank says, in order, as if it ran here."""

    def __init__(self, spec: RunSpec, job: Job):
        self.view = View()
        self.live = self.view.console.is_terminal
        self.heard = 0
        self.unread: Stopped | None = None
        self._spec, self._root = spec, job.root
        self._early: dict[int, Message] = {}
        self._began: float | None = None

    def show(self, messages: Sequence[Message]) -> None:
        """Messages in any order; those that come too early wait for the ones before them."""
        self._early |= {message[0]: message for message in messages}
        while self.heard in self._early:
            _, what, args = self._early.pop(self.heard)
            self.heard += 1
            try:
                self._show(what, args)
            except Stopped as stopped:  # nobody reads the output any more
                self.unread = stopped

    def _show(self, what: str, args: tuple[Any, ...]) -> None:
        if what == "print":
            sys.stdout.write(args[0])
            sys.stdout.flush()
        elif what == "start":
            self._began = time.monotonic()
            self.view.start(self._spec, self._root, *args)
        else:
            if what == "finish":
                self._began = None
            getattr(self.view, what)(*args)

    def close(self) -> None:
        """Closing words of a run that could not say them itself."""
        if self._began is not None:
            with suppress(Stopped):
                self.view.finish("stopped", {"total": time.monotonic() - self._began})
            self._began = None


class _Ours:
    """Standard output without what Ray's own thread prints there."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name == GOSSIP else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at the address: Ray itself would wait for minutes."""
    if address == "auto":
        try:
            from ray._private.services import canonicalize_bootstrap_address
        except ImportError:  # not promised by Ray; without it a cluster that is gone is noticed late
            return
        address = canonicalize_bootstrap_address("auto") or ""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK).close()


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to a Ray cluster, or to a new one on this machine, which ends with it. One that this process has is used as it is.

    Raises UserError in one line when Ray is not installed or the cluster cannot be joined.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # reports to its makers, unless the user wants it to
    try:
        import ray
    except ImportError as error:
        raise UserError(f"launcher: Ray is not installed ({error}): pip install 'selfevo[ray]'") from None
    if ray.is_initialized():
        yield
        return
    main = threading.current_thread() is threading.main_thread()
    terminate, out = signal.getsignal(signal.SIGTERM), sys.stdout
    sys.stdout = _Ours(out)  # type: ignore[assignment]
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        try:
            if address is None:
                ray.init(address="local", include_dashboard=False, **options)
            else:
                _knock(address)
                ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            where = "could not be started here" if address is None else f"could not be joined at {address}"
            raise UserError(f"launcher.address: Ray {where} ({' '.join(str(error).split())[:300]})") from None
        yield
    finally:
        sys.stdout = io.StringIO()  # Ray says good-bye to nobody
        ray.shutdown()
        sys.stdout = out
        if main:
            signal.signal(signal.SIGTERM, terminate)
