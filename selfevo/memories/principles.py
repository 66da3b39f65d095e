"""Principles: short advice distilled from trajectories, kept as long as it goes with success (EvolveR, arXiv:2510.16079)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row, Version, digest
from ..similarity import alike
from ..spec.refs import TableName
from .files import check
from .memory import Memory
from .skill import Skill


class Principles:
    """One step of the offline phase of EvolveR ("Self-Evolving LLM Agents through an Experience-Driven Lifecycle", 2025): a new version.

    1. Every row of the tables `outcomes` counts for the principles it read (its key "read:<memory>"): uses + 1, successes + 1 if its
       reward is at least 0.5. Utility: (successes + 1) / (uses + 2).
    2. The rows given are what a distiller wrote about trajectories (or these themselves): `pattern` cuts a principle out, "guiding" where
       the trajectory succeeded, else "cautionary". Of those of one question and kind that say the same, one is kept (the connected
       components of that relation).
    3. The nearest three of its kind in the memory are asked whether they say the same; then it merges into the first that does (uses + 1,
       successes + 1 if guiding, a link to its trajectory), else it enters with counts 0 and utility 0.5.
    4. Every `prune_every`-th step, principles with a utility below `prune_below` go.

    Two principles say the same when the cosine of their character n-grams is at least `same`; the paper asks a language model where an
    embedding's cosine is. Left out and counted: texts that do not match, hold `forbidden`, or repeat "!". Nothing new: no version.

    Args:
        outcomes: scored tables whose rows read the memory; declare them under the stage's `using`.
        pattern: regex (dot matches line breaks) with a group `text`, and `when` for what it is about.
        reward: reward that tells success; distilled rows carry their trajectory's as the task variable of that name.
        same: least cosine of texts that say the same. n: characters of an n-gram.
        prune_every, prune_below: see above. links: successes and failures linked at most, the newest ones.
        forbidden: regex of what no principle may hold (the tags of the protocol).
    """

    def __init__(
        self,
        outcomes: Sequence[TableName] = (),
        pattern: str = r"\s*(?P<text>.+)",
        reward: str = "score",
        same: float = 0.85,
        n: int = 3,
        prune_every: int = 10,
        prune_below: float = 0.3,
        links: tuple[int, int] = (3, 2),
        forbidden: str = r"</?(think|search_experience|search_knowledge|experience|information|answer)>",
    ):
        try:
            self.pattern, self.forbidden = re.compile(pattern, re.DOTALL), re.compile(forbidden)
        except re.error as error:
            raise UserError(f"Principles: not a regular expression ({error})") from error
        if "text" not in self.pattern.groupindex or prune_every < 1:
            raise UserError("Principles: pattern needs a group (?P<text>...), and prune_every must be at least 1")
        self.outcomes, self.reward, self.same, self.n, self.links = tuple(outcomes), reward, same, n, links
        self.prune_every, self.prune_below, self._steps = prune_every, prune_below, 0

    def update(self, target: Memory, rows: Sequence[Row], ctx: RunCtx) -> Version | None:
        """The new version, or None where nothing changed."""
        self._steps += 1
        held = {file: Skill.read(file, text) for file, text in target.files.items()}
        for row in (row for table in self.outcomes for row in ctx.rows(table)):
            value = row.reward(self.reward)
            for file in json.loads(row.trajectory.keys.get(f"read:{target.name}", "[]")) if value is not None else ():
                if file in held:
                    held[file] = used(held[file], value is not None and value >= 0.5)
        fresh = self._distinct([p for row in rows if (p := self._read(row)) is not None])
        merged = 0
        for skill, _, kind, source in fresh:
            near = sorted(((-self._alike(skill, p), f) for f, p in held.items() if p.facts.get("kind") == kind))[:3]
            twin = next((file for likeness, file in near if -likeness >= self.same), None)
            ok = kind == "guiding"
            merged += twin is not None
            file = skill.file if twin is None else twin
            held[file] = self._linked(skill if twin is None else used(held[file], ok), source, ok)
        gone = [f for f, p in held.items() if utility(p) < self.prune_below] if self._steps % self.prune_every == 0 else []
        files = check({f: p.text for f, p in held.items() if f not in gone}, f"memory '{target.name}'")
        told = {"held": len(files), "fresh": len(fresh), "merged": merged, "unused": len(rows) - len(fresh), "pruned": len(gone)}
        for name, count in told.items():
            ctx.log(f"principles/{name}", count)
        if held:
            ctx.log("principles/utility", sum(map(utility, held.values())) / len(held))
        return None if files == dict(target.files) else target.add(files, made_by=ctx.path)

    def _read(self, row: Row) -> tuple[Skill, str, str, str] | None:
        """(principle, question, kind, trajectory) of a distilled row, or of a trajectory itself."""
        match, t = self.pattern.match(row.trajectory.text), row.trajectory
        given = row.reward(self.reward)
        value = float(t.task.vars.get(self.reward, "nan")) if given is None else given
        if match is None or value != value or not match["text"].strip():
            return None
        text, when = match["text"].strip(), (match.groupdict().get("when") or "").strip()
        if self.forbidden.search(text) or re.fullmatch(r"!{2,}", text):
            return None
        text, when = (part.encode("utf-8", "replace").decode() for part in (text, when))  # a lone surrogate is no text
        kind = "guiding" if value >= 0.5 else "cautionary"
        source = (t.task.lineage.parent or t.id) if given is None else t.id
        name = f"p{digest([kind, when, text], 12)}"
        skill = Skill(name, when=when, content=text, facts={"kind": kind, "uses": "0", "successes": "0", "utility": "0.5"})
        return skill, str(t.task.vars.get("question", t.task.id)), kind, source

    def _distinct(self, fresh: Sequence[tuple[Skill, str, str, str]]) -> list[tuple[Skill, str, str, str]]:
        """The first of every connected component of those of one question and kind that say the same."""
        kept: list[list[tuple[Skill, str, str, str]]] = []
        for one in fresh:
            touched = [c for c in kept if any(o[1:3] == one[1:3] and self._alike(o[0], one[0]) >= self.same for o in c)]
            kept = [c for c in kept if c not in touched] + [[*(o for c in touched for o in c), one]]
        return [component[0] for component in kept]

    def _alike(self, one: Skill, other: Skill) -> float:
        return alike(f"{one.when} {one.content}", f"{other.when} {other.content}", self.n)

    def _linked(self, skill: Skill, source: str, ok: bool) -> Skill:
        key, most = ("won", self.links[0]) if ok else ("lost", self.links[1])
        newest = [*skill.facts.get(key, "").split(), source][-most:] if most else []
        return replace(skill, facts={**skill.facts, key: " ".join(newest)})

    def state_dict(self) -> dict[str, Any]:
        """Steps so far."""
        return {"steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; raises ValueError for a state of another shape."""
        if set(state) != {"steps"}:
            raise ValueError(f"not the state of Principles: it has {sorted(state)}")
        self._steps = state["steps"]


def utility(principle: Skill) -> float:
    """(successes + 1) / (uses + 2): 0.5 before the first use."""
    counts: Mapping[str, str] = principle.facts
    return (int(counts.get("successes", 0)) + 1) / (int(counts.get("uses", 0)) + 2)


def used(principle: Skill, success: bool) -> Skill:
    """The principle after one more use."""
    counts = {"uses": int(principle.facts.get("uses", 0)) + 1, "successes": int(principle.facts.get("successes", 0)) + success}
    after = replace(principle, facts={**principle.facts, **{key: str(count) for key, count in counts.items()}})
    return replace(after, facts={**after.facts, "utility": f"{utility(after):.6g}"})

