"""One process of a run under Ray: an actor that is a rank, and the place where the main rank finds engines and judges."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..crew import Crew, Member
from ..errors import EXIT_STOPPED, EngineError, SelfevoError
from ..place import Place
from ..protocols import Engine
from ..ranks import Ranks, Zero
from ..roles import split_ref
from ..surroundings import Surroundings, Where
from ..verifiers.run import Apply
from .ray_desk import Relay, Stream, Teller
from .ray_room import NAMES, Room

if TYPE_CHECKING:
    from ..judges import Judges
    from ..observer import Observer
    from ..spec import RunSpec


PAUSE = 0.2
"""Seconds between two signals: of two that arrive together a process sees one."""


@dataclass(frozen=True)
class Part:
    """What a rank is told: the run, its number among `count` ranks and among those of its node, where all ranks are, the
    port at which they meet, and what is reserved."""

    spec: str
    root: str
    resume: bool
    zero: Zero | None
    index: int
    count: int
    local: tuple[int, int]
    places: tuple[Where, ...]
    port: int
    room: Room
    wait: float
    live: bool


@dataclass(frozen=True)
class Said:
    """How a rank ended: `error` None and the value a sweeper optimises, or an error's text, exit status and whether it was shown.
    `told`: messages the main rank sent."""

    value: float | None = None
    error: str | None = None
    status: int = 0
    printed: bool = False
    told: int = 0


class Rank:
    """The actor. It works in the main thread of its process, where signals arrive; `desk` tells it when to stop."""

    def __init__(self, desk: Any):
        self._desk = desk

    def hello(self, surroundings: Surroundings) -> Where:
        """Begin."""
        self._surroundings = surroundings
        surroundings.enter()
        return Where.here()

    def port(self) -> int:
        """A port of this node that is free now."""
        with socket.socket() as found:
            found.bind(("", 0))
            return int(found.getsockname()[1])

    def run(self, part: Part) -> Said:
        """Take part in the run to its end."""
        main, tell = part.index == 0, Teller(self._desk)
        local, locals_ = part.local
        os.environ |= {
            "RANK": str(part.index), "WORLD_SIZE": str(part.count), "LOCAL_RANK": str(local), "LOCAL_WORLD_SIZE": str(locals_),
            "MASTER_ADDR": part.places[0].address, "MASTER_PORT": str(part.port),
        }  # fmt: skip
        sys.argv = list(self._surroundings.command)
        place = Elsewhere(part, self._surroundings, tell)
        with _stopped_by(self._desk), _speaking(tell if main else None):
            said = _outcome(part, place)
        return Said(said.value, said.error, said.status, said.printed, tell.told)


def _outcome(part: Part, place: Place) -> Said:
    import torch

    from ..commands.run import here
    from ..spec import load_text

    try:
        os.environ.setdefault("ACCELERATE_USE_CPU", "false" if torch.cuda.is_available() else "true")
        ranks = Ranks(part.zero)
        value = here(load_text(part.spec), Path(part.root), part.resume, ranks, place)
        ranks.leave()
        return Said(value)
    except SelfevoError as error:
        return Said(None, str(error), error.exit_code, getattr(error, "printed", False))
    except KeyboardInterrupt:
        return Said(None, "interrupted", EXIT_STOPPED)
    finally:
        place.close()


class Elsewhere(Place):
    """A rank's place: engines with weights and row parts of verifiers work on what the launcher reserved for them. The main rank has
    them work; the others have crews of nobody, whom nobody asks."""

    here = False

    def __init__(self, part: Part, surroundings: Surroundings, tell: Callable[..., None]):
        self._part, self._surroundings, self._tell = part, surroundings, tell
        self._crews: dict[str, Crew] = {}
        self._judges: Judges | None = None

    def settle(self, spec: RunSpec, note: Callable[[str], None]) -> None:
        """Start all of them; they come up while the main rank does."""
        super().settle(spec, note)
        from ..engines.replicas import Replica
        from ..judges import Judge, Judges
        from ..spec import build

        note("training ranks: " + "; ".join(f"{i} is {where}" for i, where in enumerate(self._part.places)))
        engines = {name: node for name, node in {"": spec.engine, **spec.engines}.items() if has_weights(build(node))}
        served = {split_ref(role.policy)[0] for role in spec.roles.values() if (role.engine or "") in engines}
        policies = {name: node for name, node in spec.policies.items() if name in served}
        self._start("engine", Replica, (engines, policies), note, EngineError, warm=True)
        judging = {name: dict(node) for name, node in spec.stages.items() if node["kind"] in ("score", "evaluate")}
        self._start("verifier", Judge, (judging,), note, SelfevoError)
        if "verifier" in self._crews:
            self._judges = Judges(self._crews["verifier"])

    def engine(self, name: str) -> Engine:
        """Replicas, where the engine has weights and the launcher says so."""
        from ..engines.replicas import Replicas

        made = super().engine(name)
        crew = self._crews.get("engine")
        return Replicas(name, made, crew) if crew is not None and has_weights(made) else made

    def judging(self, stage: str) -> Apply:
        """By the workers, where there are any."""
        judges = self._judges
        if judges is None:
            return super().judging(stage)
        return lambda part, name, rows, ctx: judges.apply(stage, part, name, rows, ctx)

    def view(self) -> Observer:
        """The command's."""
        return Relay(self._tell, self._part.live)

    def close(self) -> None:
        """End replicas and workers."""
        for crew in self._crews.values():
            crew.close()

    def _start(self, kind: str, actor: type, args: tuple[Any, ...], note: Callable[[str], None], error: type[SelfevoError],
               warm: bool = False) -> None:  # fmt: skip
        import ray

        room, remote = self._part.room, ray.remote(actor)

        def hire(slot: int) -> Member:
            made = remote.options(**room.options(kind, slot)).remote(*args)
            member = Member(made, made.hello.remote(self._surroundings))
            if warm:
                made.warm.remote()  # nobody waits for it
            return member

        if room.count(kind):
            size = room.count(kind) if self._part.index == 0 else 0
            advice = f"continue with: selfevo resume {self._part.root}"
            self._crews[kind] = Crew(NAMES[kind], size, hire, note, self._part.wait, error, advice)


def has_weights(engine: Any) -> bool:
    """Whether replicas of an engine are any use: it computes with a policy's weights."""
    return bool(getattr(engine, "needs_weights", False))


@contextmanager
def _speaking(tell: Teller | None) -> Iterator[None]:
    """What this process prints goes to the command's screen. Standard error (warnings of libraries) and followers stay in Ray's logs."""
    if tell is None:
        yield
        return
    before, ours = sys.stdout, Stream(tell)
    sys.stdout = ours
    try:
        yield
    finally:
        sys.stdout = before
        ours.close()


@contextmanager
def _stopped_by(desk: Any) -> Iterator[None]:
    """Each time the command asks to stop, the main thread gets SIGTERM: a run treats it as Ctrl-C. (Ray blocks SIGINT in its processes.)"""
    done, lock = threading.Event(), threading.Lock()

    def listen() -> None:
        import ray

        heard = 0
        while not done.is_set():
            try:
                ray.get(desk.stopping.remote(heard))
                heard += 1  # two requests that come together are two all the same
            except ray.exceptions.RayError:  # the command is gone, and Ray ends this process too
                return
            with lock:
                if not done.is_set():
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            done.wait(PAUSE)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=listen, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            done.set()
        signal.signal(signal.SIGTERM, before)
