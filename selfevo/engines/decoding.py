"""One call of the native engine's `generate`: prefill, decode steps, rows that leave and rows that enter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import EngineError
from ..policies import evaluating, logits_at
from ..protocols import Completion, GenerateRequest
from .sampling import distribution, draw, truncate, uniforms
from .slots import Slots, attending, check
from .stops import Stops


def decode(policy: Any, requests: Sequence[GenerateRequest], max_batch: int, cache_tokens: int, prefill_tokens: int) -> list[Completion]:
    """Completions in the order of `requests`, whose contexts all fit."""
    model = policy.model
    check(model)
    # A fixed order, whatever the caller's: longest context first, equal contexts together.
    order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].context), requests[i].context, requests[i].seed))
    limit = policy.codec.limit
    longest = max(min(len(r.context) + r.sampling.max_tokens, limit) for r in requests)
    rows = max(1, min(max_batch, cache_tokens // longest, len(requests)))
    with evaluating(model), torch.no_grad():
        batch = Batch(policy, [requests[i] for i in order], rows, prefill_tokens)
        with attending(model, batch.slots):
            batch.run()
    place = {index: at for at, index in enumerate(order)}
    return [batch.replies[place[index]] for index in range(len(requests))]


class Batch:
    """The running replies: active rows 0..n-1 of the slots, of `tokens`, `logps`, `who` and `step`."""

    def __init__(self, policy: Any, requests: Sequence[GenerateRequest], rows: int, prefill_tokens: int):
        self.policy, self.requests, self.prefill_tokens, self.rows = policy, requests, prefill_tokens, rows
        self.device = next(policy.model.parameters()).device
        limit = policy.codec.limit
        self.room = [min(r.sampling.max_tokens, limit - len(r.context)) for r in requests]
        self.slots = Slots(rows, max(len(r.context) for r in requests) + min(64, max(self.room)))
        self.ends = torch.tensor(sorted(policy.codec.ends), device=self.device)
        self.stops = Stops(policy, requests, self.device)
        self.truncates = any(r.sampling.top_p < 1.0 or r.sampling.top_k > 0 for r in requests)
        self.samples = any(r.sampling.temperature > 0 for r in requests)
        self.table = self._table()
        width = max(self.room)
        self.tokens = torch.zeros(rows, width, dtype=torch.long, device=self.device)  # of active rows, as are:
        self.logps = torch.zeros(rows, width, dtype=torch.float32, device=self.device)
        self.who = torch.zeros(0, dtype=torch.long, device=self.device)  # [n] the request
        self.step = torch.zeros(0, dtype=torch.long, device=self.device)  # [n] tokens drawn so far
        self.entered = 0
        self.kept: tuple[tuple[int, ...], list[tuple[Tensor, Tensor]], Tensor] | None = None
        self.replies: dict[int, Completion] = {}

    def _table(self) -> dict[str, Tensor]:
        def column(values: list[Any], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=self.device)

        s = [r.sampling for r in self.requests]
        return {
            "seed": column([r.seed & ((1 << 63) - 1) for r in self.requests], torch.long),
            "start": column([len(r.context) for r in self.requests], torch.long),
            "room": column(self.room, torch.long),
            "temperature": column([x.temperature for x in s], torch.float32),
            "top_p": column([x.top_p for x in s], torch.float32),
            "top_k": column([x.top_k for x in s], torch.long),
        }

    def run(self) -> None:
        """Until every request has its reply."""
        while self.entered < len(self.requests) or len(self.who):
            waiting = len(self.requests) - self.entered
            free = self.rows - len(self.who)
            # Entering costs a prefill, so rows enter once a quarter is free.
            if waiting and free >= min(waiting, max(1, self.rows // 4)):
                self._enter(min(free, waiting))
            else:
                self._decode()

    def _enter(self, count: int) -> None:
        """Prefill the next requests, at most `count` and one forward pass of them, and draw their first tokens."""
        first, n = self.entered, len(self.who)
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
        self.slots.place(states, index, n)
        new = torch.arange(first, self.entered, device=self.device)
        self.who, self.step = torch.cat([self.who, new]), torch.cat([self.step, torch.ones_like(new)])
        self._leave(self._draw(logits[index], n))

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
        rows = torch.arange(len(contexts), device=self.device)
        positions = torch.arange(width, device=self.device).expand(len(contexts), -1)
        self.slots.begin_prefill()
        logits = logits_at(
            self.policy.model, rows, last, input_ids=ids.to(self.device), position_ids=positions, past_key_values=self.slots, use_cache=True
        )
        return self.slots.end_prefill(), logits

    def _decode(self) -> None:
        """One token for every active row."""
        rows = torch.arange(len(self.who), device=self.device)
        positions = self.table["start"][self.who] + self.step - 1  # where the last drawn token goes
        self.slots.begin_step(positions, int(positions.max()))
        last = self.tokens[rows, self.step - 1]
        logits = self.policy.model(
            input_ids=last[:, None], position_ids=positions[:, None], past_key_values=self.slots, use_cache=True
        ).logits[:, -1]
        self.step = self.step + 1
        self._leave(self._draw(logits, 0))

    def _draw(self, logits: Tensor, start: int) -> Tensor:
        """The newest tokens [m] of active rows start.., whose `step` counts them already; recorded with their log-probs."""
        who, at = self.who[start:], self.step[start:] - 1
        t = {name: column[who] for name, column in self.table.items()}
        logp = distribution(logits, t["temperature"])
        tokens = logp.argmax(dim=-1)
        if self.samples:
            p = truncate(logp, t["top_p"], t["top_k"]) if self.truncates else logp.exp()
            drawn = draw(p, uniforms(t["seed"], t["start"] + at))
            tokens = torch.where(t["temperature"] > 0, drawn, tokens)
        rows = torch.arange(start, start + len(who), device=self.device)
        self.tokens[rows, at] = tokens
        self.logps[rows, at] = logp.gather(1, tokens.unsqueeze(1)).squeeze(1)
        return tokens

    def _leave(self, drawn: Tensor) -> None:
        """Take finished replies out of the batch; `drawn` are the newest tokens of the last len(drawn) rows."""
        n, m = len(self.who), len(drawn)
        who, step = self.who[n - m :], self.step[n - m :]
        ended = torch.isin(drawn, self.ends) | self.stops(drawn, who, step, self.tokens[n - m : n])
        done = ended | (step >= self.table["room"][who])
        if not bool(done.any()):
            return
        rows = done.nonzero().squeeze(1)
        self._collect(rows + n - m, ended[rows])
        stays = torch.ones(n, dtype=torch.bool, device=self.device)
        stays[n - m :] = ~done
        left = n - len(rows)
        # Rows beyond the new end fill the holes before it, so that active rows are again 0..left-1.
        holes = (~stays[:left]).nonzero().squeeze(1)
        movers = stays[left:].nonzero().squeeze(1) + left
        if len(holes):
            drawn_most = int(self.step[movers].max())
            self.slots.move(movers, holes, int((self.table["start"][self.who[movers]] + self.step[movers]).max()) - 1)
            self.tokens[holes, :drawn_most] = self.tokens[movers, :drawn_most]
            self.logps[holes, :drawn_most] = self.logps[movers, :drawn_most]
            self.who[holes], self.step[holes] = self.who[movers], self.step[movers]
        self.who, self.step = self.who[:left].clone(), self.step[:left].clone()

    def _collect(self, rows: Tensor, stopped: Tensor) -> None:
        """Completions of active rows that have finished."""
        who, step = self.who[rows].tolist(), self.step[rows].tolist()
        tokens, logps = self.tokens[rows, : max(step)].tolist(), self.logps[rows, : max(step)].tolist()
        for request, length, ids, lps, stop in zip(who, step, tokens, logps, stopped.tolist(), strict=True):
            if not math.isfinite(sum(lps[:length])):
                raise EngineError(f"the logits of {self.policy.version.ref} are not finite: its weights have diverged")
            text = self.policy.codec.decode(ids[:length])
            self.replies[request] = Completion(tuple(ids[:length]), tuple(lps[:length]), text, "stop" if stop else "length")
