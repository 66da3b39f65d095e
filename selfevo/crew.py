"""Ray actors that share work: one that dies is replaced, and what it was doing is done by another."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import SelfevoError
from .surroundings import Where

TRIES = 3
"""Times that a job may end its member, and that a member may end without finishing a job, before it is given up."""
GLANCE = 1.0
"""Seconds between two looks at whether somebody wants this thread to stop."""


@dataclass(eq=False)
class Member:
    """One actor of a crew. `hello` is the answer to come to the first thing it was asked, its `Where`, which is known from then on."""

    actor: Any
    hello: Any
    slot: int = 0
    where: Where | None = None


class Crew:
    """`size` actors. `do` gives each job to whichever is free, so jobs must not care who does them.

    Args:
        what: what to call one of them, "engine replica".
        hire: makes the member for a slot (0 to size - 1).
        note: tells the user a line.
        wait: seconds that a new actor may take to start before a job that has nobody else is given up.
        error: what is raised then.
        advice: added to such an error: how to go on.
    """

    def __init__(self, what: str, size: int, hire: Callable[[int], Member], note: Callable[[str], None], wait: float,
                 error: type[SelfevoError] = SelfevoError, advice: str = ""):  # fmt: skip
        self.what, self.size, self.wait, self.lost = what, size, wait, 0
        self._hire, self._note, self._error, self._advice = hire, note, error, advice
        self._failures: Counter[int] = Counter()
        self._reason = "none could start"
        self._announced, self._lock = 0, threading.Lock()
        self.members: list[Member] = []
        for slot in range(size):
            self._add(slot)

    def do(self, jobs: Sequence[Callable[[Member], Any]]) -> list[Any]:
        """What the jobs give, in order. A job asks the member it is handed for something and returns the reference of the answer.

        Raises what a job itself raises; the crew's error when a job has nobody left, or has ended `TRIES` members.
        """
        with self._lock:
            return _Round(self, jobs).run()

    def spent(self) -> dict[str, float]:
        """{"replicas_lost": n} for the members lost since this was last asked, under the last word of `what`; {} for none."""
        lost, self.lost = self.lost, 0
        return {f"{self.what.split()[-1]}s_lost": float(lost)} if lost else {}

    def close(self) -> None:
        """End all of them."""
        import ray

        while self.members:
            ray.kill(self.members.pop().actor)

    def welcome(self, member: Member, where: Where) -> None:
        """A member has started."""
        member.where = where
        self._announced += 1
        if self._announced == self.size:
            self._note(f"{self.what}s: " + "; ".join(f"{m.slot} is {m.where}" for m in self.members if m.where is not None))
        elif self._announced > self.size:
            self._note(f"{self.what} {member.slot} is now {where}")

    def drop(self, member: Member, error: BaseException) -> None:
        """A member ended, or never started: put another in its place, unless that has been tried often enough."""
        import ray

        ray.kill(member.actor)
        self.members.remove(member)
        self._reason = cause(error)
        self._failures[member.slot] += 1
        again = self._failures[member.slot] < TRIES
        then = "a replacement starts" if again else f"it is not replaced, after {TRIES} in a row"
        if member.where is None:
            self._note(f"{self.what} {member.slot} could not start ({self._reason}); {then}")
        else:
            self.lost += 1
            self._note(f"{self.what} {member.slot} ended: {member.where} ({self._reason}); what it was doing goes to another, {then}")
        if again:
            self._add(member.slot)

    def did(self, member: Member) -> None:
        """A member finished a job."""
        self._failures[member.slot] = 0

    def _add(self, slot: int) -> None:
        member = self._hire(slot)
        member.slot = slot
        self.members.append(member)

    def gone(self, words: str) -> SelfevoError:
        """The error of a job that cannot be done."""
        return self._error("; ".join(filter(None, (f"{words} (the last one: {self._reason})", self._advice))))


class _Round:
    """One call of `Crew.do`."""

    def __init__(self, crew: Crew, jobs: Sequence[Callable[[Member], Any]]):
        self.crew, self.jobs = crew, jobs
        self.waiting = deque(range(len(jobs)))
        self.tries = [0] * len(jobs)
        self.running: dict[Any, tuple[Member, int]] = {}
        self.results: dict[int, Any] = {}
        self.since = time.monotonic()

    def run(self) -> list[Any]:
        import ray

        while len(self.results) < len(self.jobs):
            self._assign()
            refs = [*self.running, *(m.hello for m in self.crew.members if m.where is None)]
            if not refs:
                raise self.crew.gone(f"all {self.crew.what}s are gone")
            done, _ = ray.wait(refs, timeout=GLANCE)  # in Python now and then, where a thread can be asked to stop
            if not done and not self.running and time.monotonic() - self.since > self.crew.wait:
                raise self.crew.gone(f"no {self.crew.what} has started within {self.crew.wait:g} s")
            for ref in done:
                if ref in self.running:
                    self._finished(ref)
                else:
                    self._started(next(m for m in self.crew.members if m.hello == ref))
                self.since = time.monotonic()
        return [self.results[i] for i in range(len(self.jobs))]

    def _assign(self) -> None:
        busy = {id(member) for member, _ in self.running.values()}
        for member in [m for m in self.crew.members if m.where is not None and id(m) not in busy]:
            if self.waiting:
                job = self.waiting.popleft()
                self.tries[job] += 1
                self.running[self.jobs[job](member)] = member, job

    def _started(self, member: Member) -> None:
        import ray

        try:
            self.crew.welcome(member, ray.get(member.hello))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, SelfevoError):  # a mistake that the next one would only make again
                raise error.cause from None
            self.crew.drop(member, error)
        except ray.exceptions.RayError as error:
            self.crew.drop(member, error)

    def _finished(self, ref: Any) -> None:
        import ray

        member, job = self.running.pop(ref)
        try:
            self.results[job] = ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            raise error.cause or error from None
        except ray.exceptions.RayError as error:
            self.crew.drop(member, error)
            if self.tries[job] >= TRIES:
                words = f"{TRIES} {self.crew.what}s ended one after another while they worked on the same"
                raise self.crew.gone(words) from error
            self.waiting.appendleft(job)
        else:
            self.crew.did(member)


WORDS = {
    "running low on memory": "its node ran out of memory",
    "its node has died": "its node was lost",
    "unexpectedly exits": "its process was killed",
}
"""What Ray says of an actor's end, and what to say instead."""


def cause(error: BaseException) -> str:
    """Why an actor ended, in a few words."""
    text = str(error).strip()
    lines = text.splitlines() or [type(error).__name__]
    return next((short for said, short in WORDS.items() if said in text), lines[-1].strip()[:200])
