"""Row filters as the spec writes them: {exact: 0}, {exact: {at_least: 0.5}}, {status: finished}, {category: {in: [a, b]}}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import UserError, nearest
from .records import Row

_TESTS = ("at_least", "at_most", "above", "below", "in", "not")


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions that a row must all meet. A field is a reward's name, a group key, a variable of the task, or one of status, keep,
    category, level, truncated, feedback (whether there is any). A row without the reward asked for never matches."""

    conditions: Mapping[str, Any]

    @classmethod
    def parse(cls, node: Any, where: str = "where") -> Where:
        """From a spec node; raises UserError for a test that does not exist."""
        if not isinstance(node, Mapping):
            raise UserError(f"{where}: expected a mapping such as {{exact: 0}}, got {node!r}")
        for name, test in node.items():
            if isinstance(test, Mapping):
                for key in test:
                    if key not in _TESTS:
                        raise UserError(f"{where}.{name}.{key}: unknown test{nearest(key, _TESTS)}")
        return cls(dict(node))

    def __call__(self, row: Row) -> bool:
        return all(_meets(_field(row, name), test) for name, test in self.conditions.items())

    def select(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that match, in order."""
        return [row for row in rows if self(row)]


def _field(row: Row, name: str) -> Any:
    t = row.trajectory
    if name in row.score.rewards:
        return row.score.rewards[name]
    known = {
        "status": t.status,
        "keep": row.score.keep,
        "category": t.task.category,
        "level": t.task.difficulty,
        "truncated": t.status == "truncated",
        "feedback": bool(row.score.feedback),
        "role": t.role,
    }
    return known[name] if name in known else t.keys.get(name, t.task.vars.get(name))


def _meets(value: Any, test: Any) -> bool:
    if not isinstance(test, Mapping):
        return value is not None and value == test
    if value is None:
        return False
    checks = {
        "at_least": lambda x: value >= x,
        "at_most": lambda x: value <= x,
        "above": lambda x: value > x,
        "below": lambda x: value < x,
        "in": lambda x: value in x,
        "not": lambda x: value != x,
    }
    return all(checks[key](bound) for key, bound in test.items())
