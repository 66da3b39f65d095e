"""FromRows: a candidate version of a memory from what a role wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row, Version
from .files import check
from .memory import Memory
from .stateless import Stateless


class FromRows(Stateless):
    """Writes the last policy turn of the chosen rows into a file of the memory and makes a version of it; promotes nothing.

    file: the file written. mode: "replace" its text (the best row's) or "append" to it, row by row.
    pattern: regular expression (dot matches newlines) that cuts the text out of a reply: its group `text`, else its first group, else
        the whole match; a group `file` may name the file ("skills/(?P<file>...)" style). Rows that do not match are left out.
    reward: rows are taken by this reward, best first, rows without it left out; None: in the order given.
    at_least: least reward of a row that is used.
    take: how many rows are used at most.
    max_chars: a file that would grow longer is left as it is (None: no limit).
    """

    def __init__(
        self,
        file: str,
        mode: Literal["replace", "append"] = "replace",
        pattern: str | None = None,
        reward: str | None = None,
        at_least: float | None = None,
        take: int = 1,
        max_chars: int | None = None,
    ):
        if mode not in ("replace", "append"):
            raise UserError(f"FromRows: mode is '{mode}'; expected 'replace' or 'append'")
        if take < 1:
            raise UserError(f"FromRows: take is {take}; expected at least 1")
        if mode == "replace" and take != 1 and (pattern is None or "(?P<file>" not in pattern):
            raise UserError("FromRows: mode 'replace' keeps one row per file; use take 1, mode 'append' or a pattern with a group 'file'")
        if at_least is not None and reward is None:
            raise UserError("FromRows: at_least needs the reward it is about")
        try:
            self.pattern = re.compile(pattern, re.DOTALL) if pattern is not None else None
        except re.error as error:
            raise UserError(f"FromRows: pattern '{pattern}' is not a regular expression ({error})") from error
        check({file: ""}, "FromRows")
        self.file, self.mode, self.reward, self.at_least, self.take, self.max_chars = file, mode, reward, at_least, take, max_chars

    def update(self, target: Memory, rows: Sequence[Row], ctx: RunCtx) -> Version | None:
        """The candidate, a child of the memory's `current`, or None when no row gave a text that changes anything."""
        files, unused = dict(target.files), 0
        sources: list[str] = []
        for row in self._ranked(rows):
            if len(sources) == self.take:
                break
            cut = self._cut(row.trajectory.text)
            changed = None if cut is None else self._written(files, *cut)
            if changed is None:
                unused += 1
                continue
            files = changed
            sources.append(row.trajectory.id)
        ctx.log("propose/used", len(sources))
        ctx.log("propose/unused", unused)
        if not sources or files == target.files:
            return None
        return target.add(files, made_by=ctx.path, info={"from": " ".join(sources)})

    def _ranked(self, rows: Sequence[Row]) -> list[Row]:
        usable = [row for row in rows if row.trajectory.status in ("finished", "truncated") and row.score.keep]
        if self.reward is None:
            return usable
        rated = [(value, row) for row in usable if (value := row.reward(self.reward)) is not None]
        if self.at_least is not None:
            rated = [(value, row) for value, row in rated if value >= self.at_least]
        return [row for _, row in sorted(rated, key=lambda pair: -pair[0])]  # stable: the first of equals stays first

    def _cut(self, reply: str) -> tuple[str, str] | None:
        """(file, text) of a reply, or None when it does not match."""
        if self.pattern is None:
            return (self.file, reply.strip()) if reply.strip() else None
        match = self.pattern.search(reply)
        if match is None:
            return None
        named = match.groupdict()
        text = named.get("text") or next((g for k, g in enumerate(match.groups(), 1) if g and k != self.pattern.groupindex.get("file")), "")
        text = text or (match.group() if not match.groups() else "")
        return (named.get("file") or self.file, text.strip()) if text.strip() else None

    def _written(self, files: dict[str, str], name: str, text: str) -> dict[str, str] | None:
        """`files` with the text in place, or None for a text that is too long, adds nothing or has a bad file name."""
        before = files.get(name, "")
        if self.mode == "append" and f"\n\n{text}\n\n" in f"\n\n{before.strip()}\n\n":
            return None
        after = f"{before.rstrip()}\n\n{text}\n".lstrip() if self.mode == "append" else f"{text}\n"
        if after == before or (self.max_chars is not None and len(after) > self.max_chars):
            return None
        try:
            return check({**files, name: after})
        except UserError:  # the model chose the name or an unpaired surrogate: its mistake, counted by the caller, not the user's
            return None
