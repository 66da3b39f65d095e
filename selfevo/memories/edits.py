"""Edits of a skill library that a model wrote as JSON: each reply that holds usable ones becomes a candidate version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row, Version
from .files import check
from .memory import Memory
from .skill import Skill
from .stateless import Stateless

ACTIONS = ("ADD", "MODIFY", "REMOVE")


class Edits(Stateless):
    """[{"action": "ADD", "name": ..., "description": ..., "tags": [...], "when": ..., "content": ...}] in a reply, as GRASP's author writes
    them (arXiv:2605.29668, released code): ADD and MODIFY write a skill (ADD of a name that exists modifies it), REMOVE takes one out.

    The first JSON list or object in a reply counts, whatever stands around it. Left out and counted ("propose/unused"): replies without
    a usable edit, edits without a name or content, descriptions of more than `description` characters, REMOVE and MODIFY of a skill that
    is not there, ADD to a full library unless the same reply removes one, and candidates whose edits have the same actions, names and first
    100 characters as an earlier reply's. A reply counts with its first `most` edits, two more than one where at most two places are free.

    Args:
        capacity: most skills in the library.
        most: edits taken from a reply.
        description: longest description.
        parent: version that the edits are made to; "read": the one that the reply's own role read.
    """

    def __init__(self, capacity: int = 10, most: int = 1, description: int = 120, parent: str = "current"):
        if capacity < 1 or most < 1:
            raise UserError(f"memories.Edits: capacity {capacity} and most {most} must be at least 1")
        self.capacity, self.most, self.description, self.parent = capacity, most, description, parent

    def update(self, target: Memory, rows: Sequence[Row], ctx: RunCtx) -> list[Version]:
        """Candidate versions in the order of their rows, none promoted."""
        seen, made = set(), []
        for row in rows:
            parent = row.trajectory.memories[target.name] if self.parent == "read" else self.parent
            files = dict(target.at(parent))
            edits = self._usable(row, files)
            key = (parent, *((e["action"], e["name"], str(e.get("content", ""))[:100]) for e in edits))
            after = applied(files, edits)
            if not edits or key in seen or after == files:
                continue
            seen.add(key)
            said = "; ".join(f"{e['action']} {e['name']}" for e in edits)
            made.append(target.add(after, (parent,), ctx.path, {"from": row.trajectory.id, "edits": said}))
        ctx.log("propose/used", len(made))
        ctx.log("propose/unused", len(rows) - len(made))
        return made

    def _usable(self, row: Row, files: Mapping[str, str]) -> list[dict[str, Any]]:
        found: Any = next(extract(row.trajectory.text), []) if row.trajectory.status in ("finished", "truncated") else []
        given = [e for e in (found if isinstance(found, list) else [found]) if isinstance(e, Mapping)]
        allowed = max(self.most, 2) if self.capacity - len(files) <= 2 else self.most
        edits = [dict(e) for e in given if self._sound(e, files)][:allowed]
        if len(applied(files, edits)) > max(self.capacity, len(files)):
            edits = [e for e in edits if skill_of(e).file in files]
        try:
            check(applied(files, edits))
        except UserError:  # an unpaired surrogate: the model's mistake, not the user's
            return []
        return edits

    def _sound(self, edit: Mapping[str, Any], files: Mapping[str, str]) -> bool:
        name, action, text = edit.get("name"), edit.get("action"), edit.get("content")
        if action not in ACTIONS or not isinstance(name, str) or not name.strip():
            return False
        if len(str(edit.get("description", ""))) > self.description:
            return False
        there = skill_of(edit).file in files
        return there if action == "REMOVE" else isinstance(text, str) and bool(text.strip()) and (there or action == "ADD")


def skill_of(edit: Mapping[str, Any]) -> Skill:
    """The skill an edit writes."""
    tags = edit.get("tags") or ()
    named = tags.split(",") if isinstance(tags, str) else [str(tag) for tag in tags]
    name, description, when, content = (str(edit.get(key) or "") for key in ("name", "description", "when", "content"))
    return Skill(name, description, tuple(tag.strip() for tag in named if tag.strip()), when, content)


def applied(files: Mapping[str, str], edits: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The files after the edits, in order."""
    out = dict(files)
    for edit in edits:
        skill = skill_of(edit)
        if edit["action"] == "REMOVE":
            out.pop(skill.file, None)
        else:
            out[skill.file] = skill.text
    return out


def extract(text: str) -> Iterator[Any]:
    """Every JSON list or object in a text, from left to right: the longest stretch that decodes from each opening bracket."""
    decoder, at = json.JSONDecoder(), 0
    while (starts := [i for i in (text.find("[", at), text.find("{", at)) if i >= 0]) != []:
        at = min(starts)
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        yield value
