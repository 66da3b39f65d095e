"""What an endpoint was asked, and what that cost."""

from __future__ import annotations

from collections import Counter

from .ask import Answer


class Bill:
    """Counts since they were last taken. Prices are per million tokens; discounts that a provider gives are not known here.

    calls: requests that were answered by the endpoint. cached: answered from disk. prompt_tokens, completion_tokens: as the endpoint
    counted them, of calls. cost: their price. saved: the price of what came from disk. retries: requests sent again. damaged: files
    of the cache that were not trusted. unmetered: answers for which the endpoint gave no count, so that `cost` lacks them.
    """

    def __init__(self, prompt_price: float, completion_price: float):
        self._prices = prompt_price, completion_price
        self._counts: Counter[str] = Counter()
        self._cost = self._saved = 0.0

    def paid(self, answer: Answer, retries: int) -> None:
        """Count an answer of the endpoint."""
        self._counts["calls"] += 1
        self._counts["retries"] += retries
        self._counts["prompt_tokens"] += answer.prompt_tokens or 0
        self._counts["completion_tokens"] += answer.completion_tokens or 0
        self._counts["unmetered"] += answer.prompt_tokens is None or answer.completion_tokens is None
        self._cost += self._price(answer)

    def cached(self, answer: Answer) -> None:
        """Count an answer from disk."""
        self._counts["cached"] += 1
        self._saved += self._price(answer)

    def damaged(self) -> None:
        """Count a file of the cache that was not trusted."""
        self._counts["damaged"] += 1

    def take(self) -> dict[str, float]:
        """The counts, which begin anew; empty when nothing was asked."""
        if not self._counts:
            return {}
        always = ("calls", "cached", "prompt_tokens", "completion_tokens")
        counts = {name: float(self._counts[name]) for name in (*always, "retries", "damaged", "unmetered")}
        out = {name: value for name, value in counts.items() if value or name in always}
        out |= {"cost": self._cost, "saved": self._saved} if any(self._prices) else {}
        self._counts.clear()
        self._cost = self._saved = 0.0
        return out

    def _price(self, answer: Answer) -> float:
        tokens = answer.prompt_tokens or 0, answer.completion_tokens or 0
        return sum(n * price for n, price in zip(tokens, self._prices, strict=True)) / 1e6
