"""Checking a spec: every key held against its constructor, every name looked up, all mistakes reported at once, no torch imported."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import loop as loops
from ..errors import SpecErrors, UserError, nearest
from ..protocols import Curriculum, Engine, Optimizer, Part, Strategy, TaskSource, each_item
from ..roles import Role
from .ahead import early
from .bind import BAD, Binder
from .leaks import leaks
from .problems import BROKEN, Notes, Problem, Use, join, show
from .reproduction import Reproduction
from .resolve import Origin, read_scale, resolve
from .runspec import Checkpoint, RunSpec
from .uses import Known, look_up, loop_uses, stage_uses
from .weights import disagreements

if TYPE_CHECKING:
    from omegaconf import DictConfig

SCALE = ("iterations", "tasks", "group", "max_tokens", "kept", "eval_every", "eval_tasks", "eval_samples", "staleness")
"""Sizes every experiment may read; an experiment may add sizes of its own, which something in it must read."""

GROUPS: dict[str, Any] = {
    "model": Any, "task": TaskSource, "curriculum": Curriculum, "rollout": Strategy, "verifier": Mapping[str, Part],
    "optimizer": Optimizer, "eval": Any, "engine": Engine, "launcher": Any, "cluster": Any,
}
"""Keys that hold one component (or a mapping of them), and what it must be."""

PLAIN = (
    "name", "seed", "metric", "prompts", "policies", "roles", "memories", "engines", "stages", "loop", "scale", "tracker", "checkpoint",
    "paper", "reproduce",
)
"""Keys with a meaning of their own."""

_KINDS = ("rollout", "score", "train", "evaluate")


def check(cfg: DictConfig | dict[str, Any], where: Callable[[str], str] | None = None) -> RunSpec:
    """The spec a config describes. `where` may say in which file a path was written.

    Raises SpecErrors with a line for every mistake: "path: what is wrong; what was expected; the nearest valid name [file:line]".
    """
    from omegaconf import OmegaConf

    notes = Notes()
    if isinstance(cfg, dict):
        raw, unresolved = dict(cfg), None
    else:
        raw, unresolved = resolve(cfg, notes), OmegaConf.to_container(cfg, resolve=False)
    raw.pop("hydra", None)
    spec = _Checker(raw, unresolved, notes).run()
    if spec is not None:
        notes.problems += [*disagreements(spec), *early(spec), *leaks(spec)]
    if notes.problems:
        raise SpecErrors(lines(notes.problems, Origin(unresolved if isinstance(unresolved, Mapping) else raw), where))
    assert spec is not None
    return spec


def lines(problems: list[Problem], origin: Origin, where: Callable[[str], str] | None = None) -> list[str]:
    """Problems as lines of text, each once, named by the path that was written."""
    out = []
    for problem in problems:
        path = origin(problem.path)
        place = where(path) if where is not None else ""
        out.append((f"{path}: " if path else "") + problem.message + (f" [{place}]" if place else ""))
    return list(dict.fromkeys(out))


class _Checker:
    """One check of one spec."""

    def __init__(self, raw: dict[str, Any], unresolved: Any, notes: Notes):
        self.raw, self.unresolved, self.notes = raw, unresolved, notes
        self.binder = Binder(notes)
        self.probe = Binder(notes, construct=False)

    def run(self) -> RunSpec | None:
        raw = self.raw
        name, seed, metric = (self.binder.bind(raw.get(k), h, k) for k, h in (("name", str), ("seed", int), ("metric", str | None)))
        maps = {k: self._mapping(k) for k in ("policies", "memories", "engines", "stages", "tracker")}
        for key, nodes in maps.items():
            if key != "stages":
                for entry, node in nodes.items():
                    self._built(node, join(key, entry))
        roles = self._roles()
        prompts = self._prompts()
        checkpoint = self.binder.bind(raw.get("checkpoint", {}), Checkpoint, "checkpoint")
        reproduce = self.binder.bind(raw.get("reproduce"), Reproduction | None, "reproduce")
        self._scale()
        for stage, node in maps["stages"].items():
            self._stage(stage, node)
        sources = self._sources()
        self._groups(sources)
        loop = self._loop(maps)
        self.notes.uses += loop_uses(loop)
        known = Known(
            self._mapping("roles"), maps["policies"], maps["memories"], prompts, maps["engines"], sources, maps["stages"],
            blocks=[b.name for b in loop.blocks() if b.name], each=[b.name for b in loop.blocks() if b.each is not None],
            aliases=[a for node in maps["stages"].values() if isinstance(node, Mapping) for a in each_item(node.get("promote") or ())],
        )
        look_up(self.notes.uses, known, self.notes)
        if self.notes.problems:
            return None
        return RunSpec(
            name, seed, maps["policies"], roles, maps["memories"], prompts, raw["engine"], maps["engines"], maps["stages"], loop, sources,
            maps["tracker"], raw["launcher"], checkpoint, raw.get("paper"), metric, reproduce, raw,
        )

    def _mapping(self, key: str) -> dict[str, Any]:
        """A mapping of named nodes; null takes a name out, since a merged config cannot delete a key."""
        node = self.raw.get(key) or {}
        if node is BROKEN:
            return {}
        if not isinstance(node, Mapping):
            self.notes.add(key, f"expected a mapping of names, got {show(node)}")
            return {}
        for entry in node:
            if not entry.replace("_", "").replace("-", "").isalnum():
                self.notes.add(join(key, entry), "a name may hold letters, digits, _ and - only")
        return {k: v for k, v in node.items() if v is not None and v is not BROKEN}

    def _built(self, node: Any, path: str, hint: Any = Any) -> Any:
        if node is BROKEN:
            return BAD
        if hint is Any and not (isinstance(node, Mapping) and "_target_" in node):
            self.notes.add(path, f"expected a component (a mapping with _target_), got {show(node)}")
            return BAD
        return self.binder.bind(node, hint, path)

    def _roles(self) -> dict[str, Role]:
        roles = {}
        for name, node in self._mapping("roles").items():
            path = join("roles", name)
            role = self.binder.bind(node, Role, path)
            if role is BAD:
                continue
            roles[name] = role
            self.notes.uses += [Use("policy", role.policy, join(path, "policy")), Use("prompt", role.prompt, join(path, "prompt"))]
            self.notes.uses += [Use("memory", memory, join(path, "memories")) for memory in role.memories]
            if role.engine is not None:
                self.notes.uses.append(Use("engine", role.engine, join(path, "engine")))
        return roles

    def _prompts(self) -> dict[str, Any]:
        prompts = self._mapping("prompts")
        for name, template in prompts.items():
            path = join("prompts", name)
            messages = template if isinstance(template, list) else []
            chat = messages and all(isinstance(m, Mapping) and set(m) == {"role", "content"} for m in messages)
            if not isinstance(template, str) and not chat:
                self.notes.add(path, f"expected a template or a list of messages {{role, content}}, got {show(template)}")
                continue
            for text in [template] if isinstance(template, str) else [str(m["content"]) for m in messages]:
                try:
                    list(string.Formatter().parse(text))
                except ValueError as error:
                    self.notes.add(path, f"not a template: {error} (write {{{{ and }}}} for braces)")
        return prompts

    def _scale(self) -> None:
        scale = self.raw.get("scale") or {}
        read = set(SCALE) | (read_scale(self.unresolved) if self.unresolved is not None else set(scale))
        for key in scale:
            if key not in read:
                self.notes.unknown("scale", key, read)

    def _stage(self, name: str, node: Any) -> None:
        path = join("stages", name)
        if not isinstance(node, Mapping):
            self.notes.add(path, f"expected {{kind: ..., ...}}, got {show(node)}")
        elif "kind" not in node:
            self.notes.add(join(path, "kind"), f"required, but not given (one of {', '.join(_KINDS)})")
        elif node["kind"] not in _KINDS:
            self.notes.add(join(path, "kind"), f"unknown kind {show(node['kind'])}{nearest(str(node['kind']), _KINDS)}")
        else:
            stage(node, self.binder, path)
            self.notes.uses += stage_uses(node, path)

    def _sources(self) -> dict[str, Any]:
        """Curricula and task sources by top-level name: `task`, `curriculum`, and every other key that a stage names."""
        wanted = {use.name for use in self.notes.uses if use.kind == "source"}
        out = {}
        for key, node in self.raw.items():
            if key in ("task", "curriculum") or (key not in PLAIN and key not in GROUPS and key in wanted):
                out[key] = node
                if key in wanted:
                    self._built(node, key)
        for key in self.raw:
            if key not in out and key not in PLAIN and key not in GROUPS:
                self.notes.unknown("", key, (*PLAIN, *GROUPS))
        return out

    def _groups(self, sources: Mapping[str, Any]) -> None:
        for key, hint in GROUPS.items():
            if key not in self.raw:
                if key in ("engine", "launcher"):
                    self.notes.add(key, "required, but not given")
            elif key in ("engine", "launcher") or (key == "cluster" and self.raw[key] is not None):
                self._built(self.raw[key], key, hint)
            elif self.raw[key] is not None:
                self.probe.bind(self.raw[key], hint, key)

    def _loop(self, maps: Mapping[str, Mapping[str, Any]]) -> loops.Block:
        node = self.raw.get("loop") or {}
        kept = {k: v for k, v in node.items() if v is not None} if isinstance(node, Mapping) else node
        block, errors = loops.parse(kept, list(maps["stages"]), [*maps["policies"], *maps["memories"]])
        for error in errors:
            path, _, message = error.partition(": ")
            if repr(BROKEN) not in message:
                self.notes.add(path, message)
        return block


def stage(node: Mapping[str, Any], binder: Binder, path: str) -> Any:
    """The stage a node describes: its `kind` picks the class, whose constructor is the schema of the other keys."""
    from ..stages import KINDS

    return binder.call(KINDS[node["kind"]], {k: v for k, v in node.items() if k != "kind"}, path)


def build(node: Any) -> Any:
    """The object a checked node describes: a component (`_target_`), a stage (`kind`), or a mapping or list of them.

    Raises SpecErrors when it does not build after all.
    """
    binder = Binder(Notes())
    is_stage = isinstance(node, Mapping) and "kind" in node and "_target_" not in node
    made = stage(node, binder, "") if is_stage else binder.bind(node, Any, "")
    if made is BAD or binder.notes.problems:
        raise SpecErrors(lines(binder.notes.problems, Origin({})))
    return made


def load(path: Path | str) -> RunSpec:
    """The spec of a run directory's spec.yaml, checked anew. Raises UserError when there is none."""
    from omegaconf import OmegaConf

    file = Path(path)
    if not file.is_file():
        raise UserError(f"{file}: no such file (a run directory holds a spec.yaml)")
    return _loaded(OmegaConf.load(file), str(file))


def load_text(text: str) -> RunSpec:
    """The spec of what `dump` wrote, checked anew."""
    from omegaconf import OmegaConf

    return _loaded(OmegaConf.create(text), "the text")


def _loaded(cfg: Any, where: str) -> RunSpec:
    from omegaconf import OmegaConf

    raw = OmegaConf.to_container(cfg, resolve=False)
    if not isinstance(raw, dict):
        raise UserError(f"{where}: holds no spec; expected a mapping of keys such as policies, stages and loop")
    return check({str(k): v for k, v in raw.items()})


def dump(spec: RunSpec) -> str:
    """The text of spec.yaml: `load` gives back the same spec."""
    import yaml

    return yaml.safe_dump(dict(spec.raw), sort_keys=False, allow_unicode=True, width=120)
