"""Checkpoints of weights and optimizers: every k versions, at a stop, and at the end. Between them weights are recomputed from tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from .commits import load_small_state
from .protocols import Stateful
from .stages import Stage
from .store import RunDir
from .versions import BASE
from .world import World

CHECKPOINT, ENTERED = "checkpoint", "entered"


def save(store: RunDir, world: World, stages: Mapping[str, Stage], every: Any, final: bool = False) -> None:
    """Write the live weights and the optimizers that make them, if due: `every.every` versions since the last one, or `final`."""
    changed = {name: p.version for name, p in world.policies.items() if p.version.id != world.lineages.aliases[name][BASE]}
    done: Mapping[str, str] = next((e["weights"] for e in store.entries(CHECKPOINT, 1)), {})
    made = sum(len(v) - 1 for name, v in world.lineages.versions.items() if name in world.policies)
    due = made % every.every == 0 or any(_aliased(world, name, v.id) for name, v in changed.items())
    if not changed or {n: v.id for n, v in changed.items()} == dict(done) or not (final or due):
        return
    outputs: dict[str, str] = {}
    for name, version in changed.items():
        outputs |= store.write_folder(f"policies/{name}/{version.id}", world.policies[name].save)
    outputs |= _save_pinned(store, world, {**done, **{n: v.id for n, v in changed.items()}})
    where = max((v.made_by for v in changed.values()), key=lambda made_by: _committed_at(store, made_by))
    for name, stage in stages.items():
        optimizer = getattr(stage, "optimizer", None)
        if getattr(stage, "policy", None) is not None and isinstance(optimizer, Stateful):
            file = f"state/{where}/checkpoint/{name}.optimizer.pt"
            outputs[file] = store.write(file, partial(_torch_save, optimizer.state_dict()))
    store.commit({"path": where, "stage": CHECKPOINT, "weights": {n: v.id for n, v in changed.items()}, "outputs": outputs})
    _retire(store, world, every.keep)


def _save_pinned(store: RunDir, world: World, saved: Mapping[str, str]) -> dict[str, str]:
    """Write the versions an early rollout samples from, where they are on disk no longer or not yet: a run that is resumed after this
    checkpoint samples from them again. `saved`: versions of this checkpoint or the one before it."""
    outputs: dict[str, str] = {}
    for policy in world.pinned.values():
        name, version_id = policy.name, policy.version.id
        folder = f"policies/{name}/{version_id}"
        there = saved.get(name) == version_id or version_id == world.lineages.aliases[name][BASE]
        if not there and not any(file.startswith(f"{folder}/") for e in store.entries(CHECKPOINT) for file in e["outputs"]):
            twin = replace(world.live(name).fork(), heads=policy.heads)  # the copy's model and tokenizer are in use by another thread
            if twin.model is not None:
                twin.model.load_state_dict(policy.model.state_dict())
            outputs |= store.write_folder(folder, twin.save)
    return outputs


def _committed_at(store: RunDir, made_by: str) -> int:
    """The place in the manifest of the stage that made a version. Paths do not tell: "main.10" sorts before "main.9"."""
    path, _, stage = made_by.rpartition("/")
    return store.place(path, stage)


def _aliased(world: World, name: str, version_id: str) -> bool:
    """Whether an alias other than `current` and the making stage's own points at a version: such a version must stay readable."""
    made_by = world.lineages.versions[name][version_id].made_by.rpartition("/")[2]
    return any(v == version_id for alias, v in world.lineages.aliases[name].items() if alias not in ("current", BASE, made_by))


def keep_entered(store: RunDir, world: World, block: str, parent: str, names: set[str]) -> None:
    """Save the versions a block was entered with, for policies that the spec refers to as `name@block`."""
    names = names & set(world.policies)
    path = f"{parent}/{block}".strip("/")
    outputs: dict[str, str] = {}
    for name in sorted(names):
        version = world.policies[name].version
        folder = f"policies/{name}/{version.id}"
        world.lineages.promote(name, block, version.id)
        saved = version.id == world.lineages.aliases[name][BASE] or (store.root / folder).is_dir()
        if not saved and store.entry(path, ENTERED) is None:
            outputs |= store.write_folder(folder, world.policies[name].save)
    if names and store.entry(path, ENTERED) is None:  # once committed, a resumed run must not save its later weights here
        store.commit({"path": path, "stage": ENTERED, "outputs": outputs})


def _retire(store: RunDir, world: World, keep: int) -> None:
    """Delete the optimizer state before the newest, and weights that no recent checkpoint and no alias needs."""
    _drop_states(store, store.entries(CHECKPOINT, 2))  # those before them went when they were new, or in `restore`
    recent = {(n, v) for e in store.entries(CHECKPOINT, keep) for n, v in e["weights"].items()}
    for name, aliases in world.lineages.aliases.items():
        folder = store.root / "policies" / name
        for version in folder.iterdir() if name in world.policies and folder.is_dir() else ():
            needed = version.name in {v for a, v in aliases.items()} or f"{name}@{version.name}" in world.pinned
            if (name, version.name) not in recent and not needed:
                store.drop(f"policies/{name}/{version.name}")


def _drop_states(store: RunDir, points: Sequence[Mapping[str, Any]]) -> None:
    """Delete the optimizer states of all but the newest of these checkpoints."""
    for old in points[:-1]:
        for file in old["outputs"].keys() - points[-1]["outputs"].keys():
            if file.startswith("state/"):
                store.drop(file)


def restore(store: RunDir, world: World, stages: Mapping[str, Stage]) -> int:
    """Load the last checkpoint and the latest small states; returns its place in the manifest (-1: none, weights are the base's)."""
    for name, file in _latest_small(store).items():
        store.verify(file)
        load_small_state(world, stages, name, json.loads((store.root / file).read_text()))
    points = store.entries(CHECKPOINT)
    if not points:
        return -1
    point = points[-1]
    _drop_states(store, points)  # a kill may have come between a checkpoint and the end of its predecessor's
    for file in point["outputs"]:
        store.verify(file)
    for name, version_id in point["weights"].items():
        world.policies[name].reload(store.root / "policies" / name / version_id)
        world.loaded[name] = version_id
    for name, stage in stages.items():
        file = f"state/{point['path']}/checkpoint/{name}.optimizer.pt"
        if file in point["outputs"]:
            optimizer: Any = stage.optimizer  # type: ignore[attr-defined]
            optimizer.load_state_dict(_torch_load(store.root / file))
            if hasattr(optimizer, "attach"):  # running averages and critics must be there before the first update too
                optimizer.attach(world.live(stage.policy))  # type: ignore[attr-defined]
    return store.place(point["path"], CHECKPOINT)


def resync(world: World, entry: Mapping[str, Any]) -> None:
    """After a replayed stage: a live policy whose checkpointed weights were loaded takes on each version as it passes by."""
    for line in entry.get("versions", ()):
        if line["kind"] == "weights":
            world.policies[line["name"]].version = world.lineages.versions[line["name"]][line["id"]]
            if world.loaded.get(line["name"]) == line["id"]:
                del world.loaded[line["name"]]


def _latest_small(store: RunDir) -> dict[str, str]:
    """{part: newest committed state file}."""
    out = {}
    for entry in store.manifest:
        for file in entry.get("outputs", {}):
            if file.startswith("state/") and file.endswith(".json"):
                out[file.rpartition("/")[2].removesuffix(".json")] = file
    return out


def _torch_save(state: Any, file: Any) -> None:
    import torch

    torch.save(state, file)


def _torch_load(path: Any) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)
