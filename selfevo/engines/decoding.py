"""One call of the native engine's `generate`: prefill, decode steps, rows that leave and rows that enter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..decoder.products import FEW
from ..decoder.step import Room, Step, anywhere
from ..decoder.weights import fits, small
from ..errors import LOWER, EngineError
from ..policies import evaluating
from ..protocols import Completion, GenerateRequest
from .direct import Direct
from .draws import Draws
from .parts import ROWS, deal, possible
from .slots import Slots
from .stops import Stops
from .workers import Workers

ROOM = 512
"""Columns of the cache that a reply starts with, if it may be that long."""


def decode(
    policy: Any,
    requests: Sequence[GenerateRequest],
    max_batch: int,
    cache_tokens: int,
    prefill_tokens: int,
    workers: Workers,
    processes: int | None = 1,
) -> list[Completion]:
    """Completions in the order of `requests`, whose contexts all fit. `processes`: most of them; None: PyTorch's number of threads.
    `workers` prepare with `stepping` and do `draw`."""
    # A fixed order, whatever the caller's: longest context first, equal contexts together.
    order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].context), requests[i].context, requests[i].seed))
    ordered = [requests[i] for i in order]
    limit = policy.codec.limit
    longest = max(min(len(r.context) + r.sampling.max_tokens, limit) for r in requests)
    rows = max(1, min(max_batch, cache_tokens // longest, len(requests)))
    with evaluating(policy.model), torch.no_grad():
        parts = _parts(policy.model, rows, processes)
        dealt = deal(ordered, parts) if parts > 1 else [list(range(len(ordered)))]
        asked = [([ordered[i] for i in some], -(-rows // parts), prefill_tokens) for some in dealt]
        if len(asked) == 1:
            done = [draw(policy, stepping(policy, few=rows <= FEW), *asked[0])]
        else:
            with _single_threaded():
                done = workers.do(policy, asked)
    replies = {order[i]: reply for some, those in zip(dealt, done, strict=True) for i, reply in zip(some, those, strict=True)}
    return [replies[index] for index in range(len(requests))]


def stepping(policy: Any, room: Room = anywhere, few: bool = False) -> Step | None:
    """The decode step of a Llama-shaped policy, for one call; None for others."""
    return Step(policy.model, policy.codec.limit, room, few) if fits(policy.model) else None


def draw(policy: Any, step: Step | None, requests: Sequence[GenerateRequest], rows: int, prefill_tokens: int) -> list[Completion]:
    """Completions of ordered requests, at most `rows` of them at a time."""
    # Without C, inference mode takes a seventh off a small model's step; modules of transformers may keep tensors, which must not be of
    # that mode.
    with torch.inference_mode() if step is not None else torch.no_grad():
        batch = Batch(policy, step, requests, rows, prefill_tokens)
        batch.run()
    return [batch.replies[at] for at in range(len(requests))]


def _parts(model: Any, rows: int, processes: int | None) -> int:
    """Into how many parts to divide: several for a small model on a CPU, and rows enough for each."""
    parts = min(torch.get_num_threads() if processes is None else processes, rows // ROWS)
    if parts < 2 or not possible() or not fits(model) or not small(model) or next(model.parameters()).device.type != "cpu":
        return 1
    return parts


def _computing(model: Any, slots: Slots, step: Step | None) -> Any:
    """What computes a model over slots: Llama-shaped ones from their weights, others through transformers."""
    if step is not None:
        return Direct(model, slots, step)
    from .hooked import Hooked

    return Hooked(model, slots)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """One thread for each operation inside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Batch:
    """The running replies: active rows 0..n-1 of the slots and of `tokens`, `logps`, `who`, `step`, `position`, `left` and `live`.

    A row whose reply has ended stays until a sixteenth of the rows are such, since taking rows out costs about a tenth of a step.
    """

    def __init__(self, policy: Any, step: Step | None, requests: Sequence[GenerateRequest], rows: int, prefill_tokens: int):
        self.policy, self.requests, self.prefill_tokens, self.rows = policy, requests, prefill_tokens, rows
        compiled = None if step is None else step.compiled
        self.slots = slots = Slots(blank=compiled is None)
        self.model = _computing(policy.model, slots, step)
        self.device = next(policy.model.parameters()).device
        self.limit = limit = policy.codec.limit
        room = [min(r.sampling.max_tokens, limit - len(r.context)) for r in requests]
        self.room = torch.tensor(room, device=self.device)
        slots.begin(rows, max(len(r.context) for r in requests) + min(ROOM, max(room)))  # all contexts end where the longest does
        self.stops = Stops(policy, requests, self.device)
        self.draws = Draws(requests, self.device, compiled)
        size = policy.model.get_output_embeddings().weight.shape[0]
        self.ends = torch.zeros(size, dtype=torch.bool, device=self.device)
        self.ends[[e for e in policy.codec.ends if e < size]] = True
        self.tokens = torch.zeros(rows, max(room), dtype=torch.long, device=self.device)
        self.logps = torch.zeros(rows, max(room), dtype=torch.float32, device=self.device)
        self._rows(torch.zeros(0, dtype=torch.long, device=self.device), torch.zeros(0, dtype=torch.long, device=self.device))
        self.entered = 0
        self.kept: tuple[tuple[int, ...], list[tuple[Tensor, Tensor]], Tensor] | None = None
        self.replies: dict[int, Completion] = {}

    def _rows(self, who: Tensor, step: Tensor) -> None:
        """The active rows are now those of requests `who` [n], with `step` [n] tokens drawn."""
        self.who, self.step, self.n, self.ended = who, step, len(who), 0
        self.index = torch.arange(self.n, device=self.device)
        self.draws.follow(who, step)
        self.position = self.draws.rows["start"] + step - 1  # where the last drawn token goes
        self.left = self.room[who] - step
        self.live = torch.ones(self.n, dtype=torch.bool, device=self.device)
        places = self.position.tolist()
        self.top, self.together = max(places, default=0), len(set(places)) == 1
        self.last = self.tokens[self.index, step - 1] if self.n else who

    def run(self) -> None:
        """Until every request has its reply."""
        while self.entered < len(self.requests) or self.n:
            waiting = len(self.requests) - self.entered
            free = self.rows - self.n
            # Entering costs a prefill, so rows enter once a quarter is free.
            if waiting and free >= min(waiting, max(1, self.rows // 4)):
                self._enter(min(free, waiting))
            else:
                self._decode()

    def _enter(self, count: int) -> None:
        """Prefill the next requests, at most `count` and one forward pass of them, and draw their first tokens."""
        self._compact()
        first, n = self.entered, self.n
        contexts: list[tuple[int, ...]] = []
        source: list[int] = []
        for request in self.requests[first : first + count]:
            if not contexts or contexts[-1] != request.context:
                known = self.kept is not None and contexts == [self.kept[0]]
                if contexts and (known or len(contexts[0]) * (len(contexts) + 1) > self.prefill_tokens):
                    break
                contexts.append(request.context)
            source.append(len(contexts) - 1)
        states, logits = self._prefill(contexts)
        self.entered += len(source)
        self._keep(contexts[-1], states, logits)
        index = torch.tensor(source, device=self.device)
        self.slots.place(states, [(len(c), source.count(i)) for i, c in enumerate(contexts)], n)
        new = torch.arange(first, self.entered, device=self.device)
        self.draws.follow(new, torch.zeros_like(new))
        tokens, logps = self.draws(logits[index])
        self.tokens[n : n + len(new), 0], self.logps[n : n + len(new), 0] = tokens, logps
        self._rows(torch.cat([self.who, new]), torch.cat([self.step, torch.ones_like(new)]))
        fresh = self.index >= n
        self._settle(self.last, fresh)

    def _keep(self, context: tuple[int, ...], states: list[tuple[Tensor, Tensor]], logits: Tensor) -> None:
        """Hold on to the last context's states while more requests with it are waiting: each context is prefilled once a call."""
        waiting = self.entered < len(self.requests) and self.requests[self.entered].context == context
        if not waiting:
            self.kept = None
        elif self.kept is None or self.kept[0] != context:
            self.kept = context, [(k[-1:].clone(), v[-1:].clone()) for k, v in states], logits[-1:].clone()

    def _prefill(self, contexts: list[tuple[int, ...]]) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Keys and values of contexts, and the logits [contexts, V] after each."""
        if self.kept is not None and contexts == [self.kept[0]]:
            return self.kept[1], self.kept[2]
        width = max(map(len, contexts))
        ids = torch.zeros(len(contexts), width, dtype=torch.long)
        for row, context in enumerate(contexts):
            ids[row, : len(context)] = torch.tensor(context)
        last = torch.tensor([len(c) - 1 for c in contexts], device=self.device)
        return self.model.prefill(ids.to(self.device), last)

    def _decode(self) -> None:
        """One token for every active row."""
        self.slots.begin_step(self.position, self.top, self.together)
        logits = self.model.step(self.last, self.position)
        self.last, logps = self.draws(logits)
        # What a row draws after its end lands behind its last token, or on it: those were read when it ended.
        at = self.step if not self.ended else self.step.clamp(max=self.tokens.shape[1] - 1)
        self.tokens[self.index, at], self.logps[self.index, at] = self.last, logps
        self.step, self.position, self.left, self.top = self.step + 1, self.position + 1, self.left - 1, self.top + 1
        if self.ended and self.top > self.limit - 1:
            self.position, self.top = self.position.clamp(max=self.limit - 1), self.limit - 1
        self._settle(self.last, self.live)

    def _settle(self, drawn: Tensor, fresh: Tensor) -> None:
        """Collect the replies among the `fresh` rows that end with the newest tokens `drawn` [n]."""
        stopped = self.ends[drawn]
        if self.stops.active:
            stopped |= self.stops(drawn, self.who, self.step, self.tokens[: self.n])
        done = (stopped | (self.left <= 0)) & fresh
        if not bool(done.any()):
            return
        rows = done.nonzero().squeeze(1)
        self._collect(rows, stopped[rows])
        self.live = self.live & ~done
        self.ended += len(rows)
        if self.ended * 16 >= self.n:
            self._compact()

    def _compact(self) -> None:
        """Take the rows that have ended out: rows beyond the new end fill the holes before it, so that active rows are again 0..n-1."""
        if not self.ended:
            return
        left = self.n - self.ended
        holes = (~self.live[:left]).nonzero().squeeze(1)
        movers = self.live[left:].nonzero().squeeze(1) + left
        if len(holes):
            drawn = int(self.step[movers].max())
            self.slots.move(movers.tolist(), holes.tolist(), int(self.position[movers].max()))
            self.tokens[holes, :drawn], self.logps[holes, :drawn] = self.tokens[movers, :drawn], self.logps[movers, :drawn]
            self.who[holes], self.step[holes] = self.who[movers], self.step[movers]
        self._rows(self.who[:left].clone(), self.step[:left].clone())

    def _collect(self, rows: Tensor, stopped: Tensor) -> None:
        """Completions of active rows that have finished."""
        who, step = self.who[rows].tolist(), self.step[rows].tolist()
        tokens, logps = self.tokens[rows, : max(step)].tolist(), self.logps[rows, : max(step)].tolist()
        for request, length, ids, lps, stop in zip(who, step, tokens, logps, stopped.tolist(), strict=True):
            if not math.isfinite(sum(lps[:length])):
                said = f"the logits of {self.policy.version.ref} are not finite: its weights have diverged"
                raise EngineError(f"{said}; {LOWER}")
            text = self.policy.codec.decode(ids[:length])
            self.replies[request] = Completion(tuple(ids[:length]), tuple(lps[:length]), text, "stop" if stop else "length")
