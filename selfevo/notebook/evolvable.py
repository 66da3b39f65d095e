"""Policies and memories of a run at any version that was kept: weights as the run had them, texts as mappings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import StoreError, UserError, nearest
from ..hashing import file_sha
from ..versions import FIRST, Lineages
from .lineage import kept, names, recorded

if TYPE_CHECKING:
    from ..policies import LivePolicy
    from ..records import Version
    from ..report.read import RunData


def one(run: RunData, group: str, name: str | None) -> str:
    """`name`, or the only name of a group ("policies", "memories"). Raises UserError where there is none or a choice to make."""
    found, what = names(run, group), {"policies": "policy", "memories": "memory"}[group]
    if name is None and len(found) == 1:
        return found[0]
    if name is None:
        raise UserError(f"{run.root}: has {len(found) or 'no'} {group if len(found) != 1 else what}{nearest('', found)}"
                        + ("; name one of them" if found else ""))
    if name not in found:
        raise UserError(f"{run.root}: has no {what} '{name}'{nearest(name, found)}")
    return name


def version_of(run: RunData, known: Lineages, name: str, version: str | int) -> Version:
    """The version behind an alias, an id, or the number of one. Raises UserError that names those on disk when it is not."""
    found = known.resolve(name, f"{version:06d}" if isinstance(version, int) else version)
    there = kept(run, name)
    if found.id != FIRST and found.id not in there:
        what = "weights" if found.kind == "weights" else "files"
        raise UserError(f"{found.ref}: its {what} are not on disk; kept: {', '.join([FIRST, *there])}"
                        + (" (the spec's checkpoint.every and checkpoint.keep decide)" if found.kind == "weights" else ""))
    return found


def policy(run: RunData, known: Lineages, name: str, version: str | int, device: str | None) -> LivePolicy:
    """The policy as the spec builds it, with the weights of that version. Raises UserError for one without weights or a version that
    was not kept, StoreError for files that are not what the manifest recorded."""
    from ..spec import build

    found = version_of(run, known, name, version)
    node = dict(run.spec["policies"][name])
    if device is not None and "path" in node:
        node["device"] = device
    live: LivePolicy = build(node).load(name)
    if live.model is None:
        raise UserError(f"{found.ref}: has no weights here (its replies come from {live.source or 'elsewhere'})")
    if found.id != FIRST:
        _verify(run, name, found.id)
        live.reload(run.root / "policies" / name / found.id)
    live.version = found
    live.to_transformers()
    live.model.eval()
    return live


def tokenizer(run: RunData, name: str) -> Any:
    """The tokenizer of a policy, without its weights where these can be left out."""
    from ..spec import build

    model = build(run.spec["policies"][name])
    found = model.tokenizer() if hasattr(model, "tokenizer") else model.load(name).tokenizer
    if found is None:
        raise UserError(f"policy '{name}': has no tokenizer here (its replies come from elsewhere)")
    return found


def memory(run: RunData, known: Lineages, name: str, version: str | int) -> dict[str, str]:
    """{file: text} of a version."""
    from ..memories import files
    from ..spec import build

    found = version_of(run, known, name, version)
    if found.id == FIRST:
        return dict(build(run.spec["memories"][name]).load(name).files)
    _verify(run, name, found.id)
    return files.read(run.root / "memories" / name / found.id)


def _verify(run: RunData, name: str, version: str) -> None:
    """Hold the files of a version against the hashes of the manifest."""
    shas: Mapping[str, Any] = recorded(run, name, version)
    for file, sha in shas.items():
        path = run.root / file
        found = file_sha(path) if path.is_file() else "no such file"
        if found != sha:
            raise StoreError(f"{path}: corrupt; the manifest recorded sha256 {sha}, found {found}")
