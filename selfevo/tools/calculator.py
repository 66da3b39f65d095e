"""Exact arithmetic on whole numbers."""

from __future__ import annotations

import ast
import re
from fractions import Fraction

from .answer import Answer

LONGEST, LARGEST = 200, 10**18
OPERATORS = {ast.Add: Fraction.__add__, ast.Sub: Fraction.__sub__, ast.Mult: Fraction.__mul__, ast.Div: Fraction.__truediv__}


class Calculator:
    """The value of an expression of numbers, + - * / and brackets: "27+5" -> "32", "1/2" -> "1/2". Never runs code.

    Anything else, a division by zero and values beyond 10**18 have the status "error" and the text `wrong`.

    Args:
        wrong: what is said of an expression that has no value.
    """

    def __init__(self, wrong: str = "?"):
        self.wrong = wrong

    def __call__(self, call: str, seed: int) -> Answer:
        """The value; `seed` plays no part."""
        text = call.strip()
        if not text or len(text) > LONGEST or not re.fullmatch(r"[\d\s.+*/()-]+", text, re.ASCII):
            return Answer(self.wrong, "error")
        try:
            value = _value(ast.parse(text, mode="eval").body)
        except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
            return Answer(self.wrong, "error")
        return Answer(str(value))


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        found = Fraction(str(node.value))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _value(node.operand)
        found = -inner if isinstance(node.op, ast.USub) else inner
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        found = OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    else:
        raise ValueError("no arithmetic")
    if abs(found) > LARGEST or found.denominator > LARGEST:
        raise ValueError("too large")
    return found
