"""One call of the native engine's `generate`: prefill, decode steps, rows that leave and rows that enter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..policies import evaluating, logits_at
from ..protocols import Completion, GenerateRequest
from .sampling import distribution, draw, truncate, uniforms
from .slots import Slots, attending
from .stops import Stops


def decode(policy: Any, requests: Sequence[GenerateRequest], max_batch: int, cache_tokens: int, prefill_tokens: int) -> list[Completion]:
    """Completions in the order of `requests`, whose contexts all fit."""
    model = policy.model
    # A fixed order, whatever the caller's: longest context first, equal contexts together.
    order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].context), requests[i].context, requests[i].seed))
    limit = policy.codec.limit
    longest = max(min(len(r.context) + r.sampling.max_tokens, limit) for r in requests)
    rows = max(1, min(max_batch, cache_tokens // longest, len(requests)))
    with evaluating(model), torch.no_grad():
        batch = Batch(policy, [requests[i] for i in order], rows, prefill_tokens)
        with attending(model, batch.slots):
            batch.run()
    completions = batch.completions()
    return [completion for _, completion in sorted(zip(order, completions, strict=True), key=lambda pair: pair[0])]


class Batch:
    """The running replies. Row r of every tensor in `state` belongs to active row r of the slots."""

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
        self.tokens = torch.zeros(len(requests), max(self.room), dtype=torch.long, device=self.device)
        self.logps = torch.zeros(len(requests), max(self.room), dtype=torch.float32, device=self.device)
        self.lengths = torch.zeros(len(requests), dtype=torch.long, device=self.device)
        self.stopped = torch.zeros(len(requests), dtype=torch.bool, device=self.device)
        self.entered = 0
        self.who = torch.zeros(0, dtype=torch.long, device=self.device)  # [n] request of each active row
        self.step = torch.zeros(0, dtype=torch.long, device=self.device)  # [n] tokens drawn so far
        self.kept: tuple[tuple[int, ...], list[tuple[Tensor, Tensor]], Tensor] | None = None

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
        """Prefill the next `count` requests, a forward pass at a time, and draw their first tokens."""
        while count:
            first = self.entered
            contexts: list[tuple[int, ...]] = []
            source: list[int] = []
            for request in self.requests[first : first + count]:
                if not contexts or contexts[-1] != request.context:
                    if contexts and len(contexts[0]) * (len(contexts) + 1) > self.prefill_tokens:
                        break
                    contexts.append(request.context)
                source.append(len(contexts) - 1)
            states, logits = self._prefill(contexts)
            index = torch.tensor(source, device=self.device)
            n = len(self.who)
            self.slots.place(states, index, n)
            new = torch.arange(first, first + len(source), device=self.device)
            drawn = self._draw(logits[index], new, torch.zeros_like(new))
            self.kept = (contexts[-1], [(k[-1:].clone(), v[-1:].clone()) for k, v in states], logits[-1:])
            self.who, self.step = torch.cat([self.who, new]), torch.cat([self.step, torch.ones_like(new)])
            self.entered += len(source)
            count -= len(source)
            self._leave(drawn)
            if len(self.who) < n + len(source) and self.entered < len(self.requests):
                return  # rows came free already: let `run` decide anew

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
        n = len(self.who)
        positions = self.table["start"][self.who] + self.step - 1  # where the last drawn token goes
        self.slots.begin_step(positions, int(positions.max()))
        last = self.tokens[self.who, self.step - 1]
        logits = self.policy.model(
            input_ids=last[:, None], position_ids=positions[:, None], past_key_values=self.slots, use_cache=True
        ).logits[:, -1]
        drawn = self._draw(logits, self.who, self.step)
        self.step = self.step + 1
        assert len(drawn) == n
        self._leave(drawn)

    def _draw(self, logits: Tensor, who: Tensor, step: Tensor) -> Tensor:
        """Tokens [n] for requests `who`, whose replies have `step` tokens so far; recorded with their log-probs."""
        t = {name: column[who] for name, column in self.table.items()}
        logp = distribution(logits, t["temperature"])
        tokens = logp.argmax(dim=-1)
        if self.samples:
            p = truncate(logp, t["top_p"], t["top_k"]) if self.truncates else logp.exp()
            drawn = draw(p, uniforms(t["seed"], t["start"] + step))
            tokens = torch.where(t["temperature"] > 0, drawn, tokens)
        self.tokens[who, step] = tokens
        self.logps[who, step] = logp.gather(1, tokens.unsqueeze(1)).squeeze(1)
        return tokens

    def _leave(self, drawn: Tensor) -> None:
        """Take finished replies out of the batch; `drawn` are the newest tokens of the last len(drawn) rows."""
        n, m = len(self.who), len(drawn)
        who, step = self.who[n - m :], self.step[n - m :]
        ended = torch.isin(drawn, self.ends) | self.stops(drawn, who, step, self.tokens)
        done = ended | (step >= self.table["room"][who])
        if not bool(done.any()):
            return
        finished = who[done]
        self.lengths[finished], self.stopped[finished] = step[done], ended[done]
        stays = torch.ones(n, dtype=torch.bool, device=self.device)
        stays[n - m :] = ~done
        left = int(stays.sum())
        # Rows beyond the new end fill the holes before it, so that active rows are again 0..left-1.
        holes = (~stays[:left]).nonzero().squeeze(1)
        movers = stays[left:].nonzero().squeeze(1) + left
        if len(holes):
            width = int((self.table["start"][self.who[movers]] + self.step[movers]).max())
            self.slots.move(movers, holes, min(width, self.slots.length))
            self.who[holes], self.step[holes] = self.who[movers], self.step[movers]
        self.who, self.step = self.who[:left].clone(), self.step[:left].clone()

    def completions(self) -> list[Completion]:
        """In the order of the batch's requests."""
        lengths, stopped = self.lengths.tolist(), self.stopped.tolist()
        tokens, logps = self.tokens.tolist(), self.logps.tolist()
        ids = [tuple(row[:n]) for row, n in zip(tokens, lengths, strict=True)]
        return [
            Completion(t, tuple(lp[: len(t)]), self.policy.codec.decode(t), "stop" if stop else "length")
            for t, lp, stop in zip(ids, logps, stopped, strict=True)
        ]
