"""References to tables: `rollout`, `rollout@-1`, `rollout@-4..-1`, `fill/score`; and derived tasks (`follow`, `continue`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import UserError, nearest
from .protocols import each_item
from .where import Where

_REF = re.compile(r"^(?:(?P<block>[\w-]+)/)?(?P<stage>[\w-]+)(?:@(?:(?P<start>first)|(?P<first>-?\d+)(?:\.\.(?P<last>-?\d+))?))?$")

OF_TABLES = ("follow", "continue", "gather", "compare", "again")
"""Ways to derive tasks from a table; `suite` names a stage instead."""


@dataclass(frozen=True, slots=True)
class TableRef:
    """A parsed reference.

    `stage` alone is its latest execution. `stage@-1` is the one of the previous iteration of the innermost repeated block that
    holds it, `stage@-4..-1` a range (what exists of it: the first iterations see fewer, or none). `block/stage` is every
    execution inside the latest run of that block. `stage@first` is the first execution of the whole run.
    """

    stage: str
    block: str = ""
    first: int | None = None
    last: int | None = None
    start: bool = False

    @classmethod
    def parse(cls, text: Any, where: str = "reference") -> TableRef:
        """Raises UserError for text that is no reference."""
        match = _REF.match(text) if isinstance(text, str) else None
        if match is None:
            raise UserError(f"{where}: {text!r} is no table reference (expected stage, stage@-1, stage@-4..-1, stage@first or block/stage)")
        first = None if match["first"] is None else int(match["first"])
        last = first if match["last"] is None else int(match["last"])
        if first is not None and last is not None and (first > last or last > 0):
            raise UserError(f"{where}: {text!r} must run from older to newer and end at 0 or before")
        return cls(match["stage"], match["block"] or "", first, last, match["start"] is not None)

    def pick(self, executions: Sequence[str], here: str) -> list[int]:
        """Indices into `executions` (paths at which the stage ran, oldest first) that this reference means at path `here`."""
        if self.start:
            return [0] if executions else []
        if self.block:
            inside = [i for i, path in enumerate(executions) if any(_name(s) == self.block for s in path.split("/"))]
            if not inside:
                return []
            parent = _before(executions[inside[-1]], self.block)
            return [i for i in inside if _before(executions[i], self.block) == parent]
        if self.first is None:
            return [len(executions) - 1] if executions else []
        assert self.last is not None
        ages = [_age(path, here) for path in executions]
        return [i for i, age in enumerate(ages) if age is not None and self.first <= age <= self.last]


def _name(segment: str) -> str:
    return segment.partition(".")[0]


def _before(path: str, block: str) -> str:
    """The path up to the segment of `block`."""
    parts = path.split("/")
    return "/".join(parts[: [_name(s) for s in parts].index(block)])


def _age(path: str, here: str) -> int | None:
    """Iterations from `here` back to `path` (0, -1, ...) in the innermost repeated block that holds both; None in another run of it."""
    theirs, mine = path.split("/"), here.split("/")
    shared = 0
    while shared < min(len(theirs), len(mine)) and _name(theirs[shared]) == _name(mine[shared]):
        shared += 1
    repeated = [i for i in range(shared) if "." in theirs[i]]
    if not repeated or theirs[: repeated[-1]] != mine[: repeated[-1]]:
        return None
    at = repeated[-1]
    return int(theirs[at].partition(".")[2]) - int(mine[at].partition(".")[2])


@dataclass(frozen=True, slots=True)
class Derived:
    """Tasks made from rows of a table.

    follow: a new conversation about each row; its variables are the row's task's, plus `response` (the last policy text, also under
    the name of the role that wrote it), `feedback`, and every reward by name.
    continue: the row's own conversation goes on after the rendered `prompt`.
    suite: test-time use of the sealed suite of an evaluate stage, whose name `table` then holds: its tasks with their ids and what the
    role's prompt shows of them, and nothing else: no reference answer, no other variable. `take` tasks at a time: iteration i of the
    innermost repeated block gets the i-th slice.
    gather: one task for each group of rows, the largest group first (equal ones in order of appearance), its groups told apart by `by`:
        keys of the row or variables of its task. Variables: `rows`, each row rendered by the template `line` on a line of its own (at
        most `most`), `count`, the group's values under the names in `by`, and for each entry of `beside` the rows of the whole table
        that match that filter, rendered likewise. With `n` of the rollout groups are gone round until there are n tasks.
    compare: a judge's task for every pair of rows of a group, whose variables `first` and `second` hold the two texts and `first_id` and
        `second_id` say whose they are; with `swap` (the default) each pair comes in both orders. See `verifiers.Preference`.
    again: the rows' own tasks, each once. With `seed_by: [task]` the draws, too, are those of the stage named here.
    `reading` {memory: version} keeps the rows that read that version.
    `where` filters rows, `prompt` names the template (default: the role's), `keep_answer` False hides the reference answer, `distinct`
    leaves out tasks that an earlier row gave already.
    """

    table: TableRef
    mode: str
    where: Where = field(default_factory=lambda: Where({}))
    prompt: str | None = None
    keep_answer: bool = True
    distinct: bool = False
    take: int | None = None
    by: tuple[str, ...] = ()
    line: str = "{question} -> {response}"
    most: int = 8
    beside: Mapping[str, Where] = field(default_factory=dict)
    reading: Mapping[str, str] = field(default_factory=dict)
    swap: bool = True

    @classmethod
    def parse(cls, node: Any, where: str = "tasks") -> Derived:
        """From {follow: table, where: {...}, prompt: name}, {continue: ...}, {gather: ...} and so on; raises UserError."""
        common = ("where", "prompt", "keep_answer", "distinct", "reading")
        keys = {
            "follow": common, "continue": common, "gather": ("where", "prompt", "reading", "by", "line", "most", "beside"),
            "compare": ("where", "prompt", "reading", "swap"), "suite": ("prompt", "take"), "again": ("where", "prompt", "reading"),
        }  # fmt: skip
        if not isinstance(node, Mapping):
            raise UserError(f"{where}: expected a task source's name or {{follow: table, ...}}, got {node!r}")
        modes = [m for m in keys if m in node]
        valid = sorted({*keys, *(k for more in keys.values() for k in more)})
        for key in node:
            if key not in valid:
                raise UserError(f"{where}.{key}: unknown key{nearest(str(key), valid)}")
        if len(modes) != 1:
            raise UserError(f"{where}: give one of {', '.join(keys)}")
        mode = modes[0]
        for key in node:
            if key != mode and key not in keys[mode]:
                raise UserError(f"{where}.{key}: does not go with `{mode}`")
        if mode == "continue" and "prompt" not in node:
            raise UserError(f"{where}: `continue` needs `prompt`, what the conversation goes on with")
        for key in ("take", "most"):
            if node.get(key) is not None and (not isinstance(node[key], int) or node[key] < 1):
                raise UserError(f"{where}.{key}: expected a number, 1 or more, got {node[key]!r}")
        plain: dict[str, Any] = {key: node[key] for key in ("prompt", "take", "line", "most") if node.get(key) is not None}
        flags: dict[str, Any] = {key: bool(node[key]) for key in ("keep_answer", "distinct", "swap") if key in node}
        return cls(
            TableRef.parse(node[mode], f"{where}.{mode}"), mode, Where.parse(node.get("where", {}), f"{where}.where"),
            by=tuple(each_item(node.get("by") or ())), reading=dict(node.get("reading") or {}),
            beside={name: Where.parse(f, f"{where}.beside.{name}") for name, f in (node.get("beside") or {}).items()}, **plain, **flags,
        )  # fmt: skip


def turn(path: str) -> int:
    """Which iteration of the innermost repeated block a path is in: "round.2/walk.7/adapt" is in the 7th; 0 where nothing repeats."""
    counts = [segment.partition(".")[2] for segment in path.split("/")]
    return int(next((count for count in reversed(counts) if count), 0))
