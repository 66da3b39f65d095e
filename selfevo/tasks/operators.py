"""Obfuscated operators: a symbol stands for a rule such as a@b=2a+3b, which the question does not state."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from ..errors import UserError
from ..records import Task
from ..seeds import rng as hashed
from .procedural import Procedural, Wording

TOP = 99
SYMBOLS = "@&%$!~"
RULES = tuple((p, q) for p in (1, 2, 3) for q in (1, 2, 3))
"""The nine rules a symbol can stand for: (p, q) means p*a + q*b."""


def stated(symbol: str, rule: tuple[int, int]) -> str:
    """("@", (2, 1)) -> "a@b=2a+b"."""
    p, q = ("" if weight == 1 else str(weight) for weight in rule)
    return f"a{symbol}b={p}a+{q}b"


def worked(numbers: Sequence[int], rule: tuple[int, int]) -> list[str]:
    """Lines that apply the rule from left to right: ([7, 4], (2, 3)) -> ["2*7=14", "3*4=12", "14+12=26"]."""
    total, lines = numbers[0], []
    for number in numbers[1:]:
        parts = []
        for weight, value in zip(rule, (total, number), strict=True):
            if weight != 1:
                lines.append(f"{weight}*{value}={weight * value}")
            parts.append(weight * value)
        total = sum(parts)
        lines.append(f"{parts[0]}+{parts[1]}={total}")
    return lines


class Operators(Procedural):
    """`7@4=?` where `vars["rule"]` says `a@b=2a+3b`: worked as that rule, `2*7=14`, `3*4=12`, `14+12=26`, `#### 26`.

    Level L applies the operator L times, left to right. In one `world` every symbol always means the same, so the rules can be
    learned from rewards or written into a memory; no two symbols of a world share a rule. Without the rule the question fits all nine
    rules and can only be guessed. Numbers are 1..12 and totals stay below 100. In world 0 level 1 has 864 distinct tasks,
    level 2 has 6,842 and level 3 has 43,101.

    Args:
        levels: which levels to draw (1 to 3).
        world: which assignment of rules to symbols; None draws a new rule for every task.
        symbols: the symbols in use, each one of @ & % $ ! ~.
        wording: "terse" for the bundled policy, "full" for chat models.
    """

    name = "operators"
    deepest = 3

    def __init__(
        self, levels: Sequence[int] = (1, 2), world: int | None = 0, symbols: str = SYMBOLS, wording: Wording = "terse"
    ) -> None:
        super().__init__(levels, wording)
        if not symbols or set(symbols) - set(SYMBOLS):
            raise UserError(f"operators: `symbols` must be some of {SYMBOLS}, got {symbols!r}")
        self.world, self.symbols = world, "".join(sorted(set(symbols), key=SYMBOLS.index))

    def rule(self, symbol: str) -> tuple[int, int]:
        """(p, q) of a symbol in this world. Raises UserError where the world is None."""
        if self.world is None:
            raise UserError("operators: without a `world` a symbol has no rule of its own")
        return hashed("operators", self.world).sample(RULES, len(SYMBOLS))[SYMBOLS.index(symbol)]

    def make(self, level: int, rng: random.Random) -> Task:
        symbol = rng.choice(self.symbols)
        rule = rng.choice(RULES) if self.world is None else self.rule(symbol)
        numbers = [rng.randint(1, 12) for _ in range(level + 1)]
        while _total(numbers, rule) > TOP:
            numbers = [rng.randint(1, 12) for _ in range(level + 1)]
        return self._of(symbol, rule, numbers)

    def parse(self, question: str) -> Task | None:
        match = re.fullmatch(r"([1-9]\d?)((?:([@&%$!~])[1-9]\d?)+)=\?", question)
        if match is None or len(set(re.findall(r"[^\d]", match[2]))) != 1 or self.world is None:
            return None
        numbers, rule = [int(number) for number in re.findall(r"\d+", question)], self.rule(match[3])
        if max(numbers) > 12 or len(numbers) > self.deepest + 1 or _total(numbers, rule) > TOP:
            return None
        return self._of(match[3], rule, numbers)

    def steps(self, task: Task) -> list[str]:
        return [task.vars["rule"], *worked(task.vars["numbers"], tuple(task.vars["weights"]))]

    def _of(self, symbol: str, rule: tuple[int, int], numbers: list[int]) -> Task:
        expression = symbol.join(map(str, numbers))
        full = f"Compute {expression}, applying the operator {symbol} from left to right."
        variables = {"rule": stated(symbol, rule), "symbol": symbol, "numbers": numbers, "weights": list(rule)}
        question = f"{expression}=?" if self.wording == "terse" else full
        return self._task(len(numbers) - 1, question, str(_total(numbers, rule)), variables)


def _total(numbers: Sequence[int], rule: tuple[int, int]) -> int:
    total = numbers[0]
    for number in numbers[1:]:
        total = rule[0] * total + rule[1] * number
    return total
