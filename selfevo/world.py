"""The live state of a run: versions, weights, memories, curricula, engines, and the tables committed so far."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .clock import Clock
from .errors import SelfevoError, UserError, nearest
from .place import Place
from .prompts import Template, render
from .protocols import Closing, Curriculum, Engine, Metered, Resting
from .ranks import Ranks
from .records import Row, Task, Version
from .references import TableRef
from .roles import Role, split_ref
from .versions import BASE, Lineages

if TYPE_CHECKING:
    from .context import StageCtx
    from .evals import Suite
    from .memories import Memory
    from .policies import LivePolicy


class Executions:
    """What each stage returned, execution by execution. Recent rows stay in memory; older ones are read back from their tables."""

    def __init__(self, keep: int = 2):
        self._paths: dict[str, list[str]] = {}
        self._rows: dict[tuple[str, str], list[Row]] = {}
        self._keep = keep
        self.read: Callable[[str, str], list[Row]] = lambda path, stage: []

    def add(self, path: str, stage: str, rows: Sequence[Row] | None) -> None:
        """Record an execution; None leaves its rows on disk until someone asks."""
        self._paths.setdefault(stage, []).append(path)
        if rows is not None:
            self._rows[path, stage] = list(rows)
        recent = self._paths[stage][-self._keep :]
        for old in [key for key in self._rows if key[1] == stage and key[0] not in recent]:  # not every path there ever was
            del self._rows[old]

    def last(self, stage: str) -> str | None:
        """The path at which a stage ran last."""
        paths = self._paths.get(stage)
        return paths[-1] if paths else None

    def rows(self, ref: TableRef, here: str) -> list[Row]:
        """Rows that a reference means at path `here`, oldest first."""
        paths = self._paths.get(ref.stage, [])
        out: list[Row] = []
        for i in ref.pick(paths, here):
            key = (paths[i], ref.stage)
            if key not in self._rows:
                self._rows[key] = self.read(*key)
            out += self._rows[key]
        return out


class World:
    """Everything a stage can reach through its context. Stages never hold it across executions.

    `loaded`: {policy: version whose weights it holds}, while a resumed run walks towards that version. `pinned`: {reference: copy} of
    the versions an early rollout samples from (see `overlap`): they stay on disk until it is committed.
    """

    def __init__(self, seed: int, iterations: int, roles: Mapping[str, Role], prompts: Mapping[str, Template], root: Path,
                 ranks: Ranks | None = None, place: Place | None = None):  # fmt: skip
        self.seed, self.iterations, self.root = seed, iterations, root
        self.ranks = Ranks() if ranks is None else ranks
        self.place = Place() if place is None else place
        self.roles, self.prompts = dict(roles), dict(prompts)
        self.clock = Clock()
        self.lineages = Lineages()
        self.history: dict[str, list[float]] = {}
        self.held_out: frozenset[str] = frozenset()
        self.suites: dict[str, Suite] = {}
        self.executions = Executions()
        self.policies: dict[str, LivePolicy] = {}
        self.loaded: dict[str, str] = {}
        self.pinned: dict[str, LivePolicy] = {}
        self.memories: dict[str, Memory] = {}
        self.sources: dict[str, Any] = {}
        self.engines: dict[str, Engine] = {}
        self.load_policy: Callable[[str], LivePolicy] = lambda name: self.policies[name]
        self.progress: Callable[[int, int, str], None] = lambda done, total, what: None
        self._frozen: dict[str, LivePolicy] = {}

    # tables

    def rows(self, ref: str, here: str) -> list[Row]:
        """Rows of a table reference at path `here`."""
        return self.table(TableRef.parse(ref), here)

    def table(self, ref: TableRef, here: str) -> list[Row]:
        """The same for a parsed reference."""
        with self.clock.span("io"):
            return self.executions.rows(ref, here)

    # roles and prompts

    def role(self, name: str) -> Role:
        """The role of that name. Raises UserError with the nearest one."""
        if name not in self.roles:
            raise UserError(f"no role is named '{name}'{nearest(name, self.roles)}")
        return self.roles[name]

    def prompt(self, name: str) -> Template:
        """The template of that name."""
        if name not in self.prompts:
            raise UserError(f"no prompt is named '{name}'{nearest(name, self.prompts)}")
        return self.prompts[name]

    def open(self, ctx: StageCtx, role_name: str, task: Task, prompt: str | None, variables: Mapping[str, str]) -> tuple[int, ...]:
        """Context ids of a role's prompt for a task, as a rollout would open it."""
        role = self.role(role_name)
        texts = self.memories_for(role, ctx.bind, task)[1]
        template = prompt or task.prompt or role.prompt
        known = {"category": task.category, "level": "" if task.difficulty is None else f"{task.difficulty:g}"}
        messages = render(self.prompt(template), {**known, **texts, **task.vars, **variables}, f"prompts.{template}")
        return self.codec(role.policy).open(messages)

    # versions

    def version_ref(self, name: str, alias: str, here: str = "") -> str:
        """ "solver@000003" for a name and an alias; "ema" stays an alias, since it has no version of its own."""
        if alias == "ema":
            return f"{name}@ema"
        return self.lineages.resolve(name, alias).ref

    def live(self, name: str) -> LivePolicy:
        """The trainable policy of that name."""
        if name not in self.policies:
            raise UserError(f"no policy is named '{name}'{nearest(name, self.policies)}")
        return self.policies[name]

    def policy(self, ref: str, here: str = "") -> LivePolicy:
        """The policy behind a reference: the live one for its own version, a frozen copy for any other, the running average for "ema"."""
        name, alias = split_ref(ref)
        live = self.live(name)
        if alias == "ema":
            return self._average(live)
        if alias in ("current", live.version.id):  # any other alias stays what it is while the live one trains
            return live
        resolved = self.version_ref(name, alias, here)
        if resolved not in self._frozen:
            self._frozen[resolved] = self.load_frozen(name, split_ref(resolved)[1])
        return self._frozen[resolved]

    def codec(self, ref: str) -> Any:
        """The codec of a policy, which all its versions share."""
        return self.live(split_ref(ref)[0]).codec

    def memory(self, name: str, alias: str = "current") -> Memory:
        """The memory of that name."""
        if name not in self.memories:
            raise UserError(f"no memory is named '{name}'{nearest(name, self.memories)}")
        return self.memories[name]

    def read_memory(self, name: str, alias: str) -> Mapping[str, str]:
        """Files of a memory at a version."""
        return self.memory(name).at(self.lineages.resolve(name, alias).id)

    def memories_for(self, role: Role, bind: Mapping[str, str], task: Task) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """({memory: version id}, {memory: its text}, {"read:<memory>": JSON list of the files retrieved}) that a role reads for a task;
        `bind` overrides the version the role names."""
        versions, texts, chosen = {}, {}, {}
        for ref in role.memories:
            name, alias = split_ref(ref)
            version = self.lineages.resolve(name, bind.get(name, alias))
            versions[name] = version.id
            files = self.memory(name).at(version.id)
            if name in role.retrieve:
                shown = role.retrieve[name](files, task)
                texts[name] = "".join(text.rstrip("\n") + "\n" for text in shown.values())
                chosen[f"read:{name}"] = json.dumps(list(shown))
            else:
                texts[name] = "\n".join(text.rstrip("\n") for text in files.values())
        return versions, texts, chosen

    def made_by_last(self, name: str, stage: str) -> list[str]:
        """Ids of the versions of `name` that the latest execution of a stage made, oldest first."""
        path = self.executions.last(stage)
        return [] if path is None else [v.id for v in self.lineages.versions[name].values() if v.made_by == f"{path}/{stage}"]

    def made(self, version: Version, stage: str, target: Any) -> None:
        """Record a version that a stage made; for weights it is the live policy's from now on."""
        self.lineages.add(version, stage)
        if version.kind == "weights":
            target.version = version

    def promote(self, promotions: Mapping[str, Mapping[str, str]]) -> None:
        """Move aliases: {name: {alias: version id}}."""
        for name, moves in promotions.items():
            for alias, version_id in moves.items():
                self.lineages.promote(name, alias, version_id)
                if name in self.memories:
                    self.memories[name].promote(version_id, alias)

    # tasks

    def curriculum(self, name: str) -> Curriculum:
        """The live curriculum of that name."""
        source = self._source(name)
        if not hasattr(source, "update"):
            raise UserError(f"'{name}' is a task source, not a curriculum: it cannot be updated")
        return source

    def sample(self, name: str, n: int, ctx: StageCtx) -> list[Task]:
        """`n` tasks from a curriculum, or drawn uniformly from a task source."""
        source = self._source(name)
        if hasattr(source, "sample"):
            return list(source.sample(n, ctx))
        rng = ctx.rng("sample")
        return [source.draw(rng) for _ in range(n)]

    def suite(self, stage: str) -> Suite:
        """The sealed suite of an evaluate stage."""
        if stage not in self.suites:
            raise UserError(f"no evaluate stage is named '{stage}'{nearest(stage, self.suites)}")
        return self.suites[stage]

    def _source(self, name: str) -> Any:
        if name not in self.sources:
            raise UserError(f"no curriculum or task source is named '{name}'{nearest(name, self.sources)}")
        return self.sources[name]

    # engines

    def serve(self, target: tuple[str, str], verb: str, requests: Sequence[Any]) -> Sequence[Any]:
        """Have an engine ("" is the run's) generate or score for the policy behind a reference. An engine that is `shared` serves on
        every rank, each a share of the requests; any other on the main rank."""
        if self.ranks.count == 1 or not getattr(self.engines[target[0]], "shared", False):
            return self._serve(target, verb, requests)
        question = (target, verb, list(requests))
        self.ranks.ask(question)
        return self.answer(question)

    def answer(self, question: tuple[tuple[str, str], str, list[Any]]) -> list[Any]:
        """On every rank: its share of what the main rank asks of an engine. Returns everyone's results, in the order of the requests."""
        target, verb, requests = question
        mine: Any
        try:
            share = self.ranks.block(requests)
            mine = list(self._serve(target, verb, share)) if share else []
        except SelfevoError as error:  # told to all, so that no rank waits for this one; the main rank raises it
            mine = error
        parts = self.ranks.gather(mine)
        for part in parts:
            if isinstance(part, SelfevoError):
                if self.ranks.main:
                    raise part
                return []
        return [result for part in parts for result in part]

    def _serve(self, target: tuple[str, str], verb: str, requests: Sequence[Any]) -> Sequence[Any]:
        name, ref = target
        engine = self.engines[name]
        engine.load(self.policy(ref))
        return engine.generate(requests) if verb == "generate" else engine.score(requests)

    def spent(self) -> dict[str, float]:
        """What engines say they spent since this was last asked: {"engine/judge/calls": 12}; the run's own engine's is "engine/calls"."""
        metered = {name: engine.spent() for name, engine in self.engines.items() if isinstance(engine, Metered)}
        return {"/".join(filter(None, ("engine", name, key))): value for name, spent in metered.items() for key, value in spent.items()}

    def rest(self) -> None:
        """Have engines give memory back while a policy trains."""
        for engine in self.engines.values():
            if isinstance(engine, Resting):
                engine.rest()

    def close(self) -> None:
        """End what engines hold beyond this process's memory."""
        for engine in self.engines.values():
            if isinstance(engine, Closing):
                engine.close()
        self.place.close()

    def _average(self, live: LivePolicy) -> LivePolicy:
        if "ema" not in live.averages:
            raise UserError(f"{live.name}@ema: this policy keeps no running average; set `ema` in its optimizer")
        from dataclasses import replace

        return replace(live, model=live.averages["ema"], averages={}, frozen=True)

    def load_frozen(self, name: str, version_id: str) -> LivePolicy:
        """A new frozen copy of a version, from its folder. Raises UserError when its weights were not kept."""
        frozen = self.load_policy(name)
        if version_id != self.lineages.aliases[name][BASE]:
            folder = self.root / "policies" / name / version_id
            if not folder.is_dir():
                raise UserError(f"{name}@{version_id}: its weights were not kept; promote it to an alias or raise checkpoint.keep")
            frozen.reload(folder)
        frozen.version = self.lineages.versions[name][version_id]
        return frozen.clone_frozen()

    def forget_frozen(self, keep: set[str]) -> None:
        """Drop frozen copies of versions no longer referred to."""
        self._frozen = {ref: p for ref, p in self._frozen.items() if ref in keep}
