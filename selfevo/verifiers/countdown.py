"""Countdown answers: an expression over the given numbers that reaches the target."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import Extract, Where

LONGEST = 200
_LATEX = {"\\times": "*", "\\cdot": "*", "\\div": "/", "\\left": "", "\\right": "", "$": ""}
_SIGNS = {**_LATEX, "×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"}


class Countdown:
    """1.0 when the answer is an expression with + - * / and parentheses that equals `vars["target"]` and uses `vars["numbers"]`, else 0.0.

    Arithmetic is exact (fractions); nothing is ever executed. A trailing "= value" is allowed and must be the target. Other operators,
    signs before a number, numbers not given and division by zero score 0. Several expressions may be right: the reference answer is
    not read.

    Args:
        extract, pattern: as in `Exact`.
        use: "all": every given number exactly once; "some": each at most once.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, extract: Where = "marked", pattern: str | None = None, use: Literal["all", "some"] = "all"):
        if use not in ("all", "some"):
            raise UserError(f"countdown: use is '{use}'; expected 'all' or 'some'")
        self.extract, self.use = Extract(extract, pattern), use

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the reward under `ctx.name`."""
        return [self._judge(row, ctx.name) for row in rows]

    def _judge(self, row: Row, name: str) -> Row:
        variables = row.trajectory.task.vars
        if "numbers" not in variables or "target" not in variables:
            return row.failed(name, "error", "the task has no vars 'numbers' and 'target'")
        found = self.extract(row.trajectory.text)
        if found is None:
            return row.rewarded(name, 0.0)
        answer = plain(found)
        return row.rewarded(name, float(self._right(answer, variables["numbers"], variables["target"])), info={"answer": answer})

    def _right(self, answer: str, numbers: Sequence[int], target: int) -> bool:
        expression, *values = answer.split("=")
        if len(values) > 1 or (values and values[0] != str(target)):
            return False
        try:
            value, used = evaluate(expression)
        except ValueError:
            return False
        given, have = Counter(map(int, numbers)), Counter(used)
        return value == target and (have == given if self.use == "all" else have <= given)


def plain(answer: str) -> str:
    """The expression without spaces and final full stop, its signs in ASCII."""
    for sign, ascii_sign in _SIGNS.items():
        answer = answer.replace(sign, ascii_sign)
    return "".join(answer.split()).removesuffix(".")


def evaluate(expression: str) -> tuple[Fraction, list[int]]:
    """Value and numbers of an expression of ASCII digits, + - * / and parentheses. Raises ValueError for anything else."""
    if len(expression) > LONGEST or not re.fullmatch(r"[0-9+\-*/()]+", expression):
        raise ValueError("not an arithmetic expression")
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, MemoryError, RecursionError):
        raise ValueError("malformed expression") from None
    used: list[int] = []
    return _value(tree.body, used), used


def _value(node: ast.expr, used: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if not isinstance(node, ast.BinOp):
        raise ValueError("only numbers and the four operations")
    left, right = _value(node.left, used), _value(node.right, used)
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Sub):
        return left - right
    if isinstance(node.op, ast.Mult):
        return left * right
    if isinstance(node.op, ast.Div) and right != 0:
        return left / right
    raise ValueError("division by zero, or an operation that is not one of the four")
