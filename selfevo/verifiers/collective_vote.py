"""A vote of several policies, weighted by how consistent each is with itself, as label (RLCCF)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ..errors import UserError, nearest
from ..protocols import RunCtx
from ..records import Row
from .answers import Extract, Where, answer_of

Weight = Literal["consistency", "agreement", "equal"]
Ballots = Literal["answers", "one"]
CHOICES = {"weight": ("consistency", "agreement", "equal"), "ballots": ("answers", "one"), "reward": ("match", "share"),
           "ties": ("abstain", "random", "first")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Election:
    """`weights`: of each voter; `scores`: of each answer, in the order first given. Exact, so that ties are ties."""

    weights: Mapping[str, Fraction]
    scores: Mapping[str, Fraction]

    @property
    def winners(self) -> list[str]:
        """The answers with the highest score; none where no answer has any."""
        best = max(self.scores.values(), default=Fraction(0))
        return [a for a, score in self.scores.items() if score == best and best > 0]

    def share(self, answer: str | None) -> Fraction:
        """An answer's part of all scores; that of a winner is the collective consistency CC."""
        total = sum(self.scores.values(), Fraction(0))
        return self.scores.get(answer, Fraction(0)) / total if answer is not None and total else Fraction(0)


def elect(
    votes: Mapping[str, Sequence[str | None]], weight: Weight = "consistency", ballots: Ballots = "answers", cap: float = 1.0
) -> Election:
    """The election among {voter: its K answers}; None (no answer) is not counted, but stays among the K. See `CollectiveVote`."""
    weights: dict[str, Fraction] = {}
    scores: dict[str, Fraction] = {}
    for voter, answers in votes.items():
        counts, k = Counter(a for a in answers if a is not None), len(answers)
        most = max(counts.values(), default=0)
        pairs = sum(n * (n - 1) for n in counts.values())
        own = Fraction(1) if weight == "equal" or k == 1 else Fraction(pairs, k * (k - 1)) if weight == "agreement" else Fraction(most, k)
        weights[voter] = min(own, Fraction(cap))
        top = [a for a, n in counts.items() if n == most]
        cast = {a: Fraction(n, k) for a, n in counts.items()} if ballots == "answers" else {a: Fraction(1, len(top)) for a in top}
        for a, part in cast.items():
            scores[a] = scores.get(a, Fraction(0)) + weights[voter] * part
    return Election(weights, scores)


class CollectiveVote:
    """1.0 for agreeing with the vote of all policies on a task, else 0.0 ("Wisdom of the Crowd: Reinforcement Learning from
    Coevolutionary Collective Feedback", 2025, arXiv:2508.12338; the formulas are the natural reading of its abstract).

    Voter i gave K answers, n_i(a) of them a. SC_i = max_a n_i(a) / K. score(a) = sum_i SC_i n_i(a) / K, label = argmax score,
    CC = max score / sum of scores. Rows without an answer cast no vote and score 0. Nobody answering is an abstention, and so is a tie
    unless `ties` says otherwise. With a single voter the weight cancels and the label is its own majority (`Majority`).
    Info: "label", "share" (CC), "consistency" (the voter's weight). Metrics, means over tasks: "vote/consistency" (CC),
    "vote/weight/<voter>", "vote/abstained".

    Args:
        among: keys that the rows of one election share: [group]: all policies together; [group, role]: each for itself.
        voter: key that tells the policies apart.
        weight: SC_i; "agreement": the share of its pairs of answers that are equal; "equal": 1.
        ballots: K fractional ones; "one": its most frequent answer (split where several are).
        cap: largest weight, against policies that are sure and wrong.
        reward: "match"; "share": score(a) / sum of scores, for every answer.
        ties: "abstain"; "random": seeded, whatever the order of rows; "first": of the tied answers the one seen first.
        extract, pattern: as in `Exact`.
    """

    scope: Literal["row", "group", "batch"] = "batch"

    def __init__(
        self,
        among: Sequence[str] = ("group",),
        voter: str = "role",
        weight: Weight = "consistency",
        ballots: Ballots = "answers",
        cap: float = 1.0,
        reward: Literal["match", "share"] = "match",
        ties: Literal["abstain", "random", "first"] = "abstain",
        extract: Where = "marked",
        pattern: str | None = None,
    ):
        for name, value in (("weight", weight), ("ballots", ballots), ("reward", reward), ("ties", ties)):
            if value not in CHOICES[name]:
                raise UserError(f"CollectiveVote: {name} is '{value}'{nearest(value, CHOICES[name])}")
        if not 0 < cap <= 1:
            raise UserError(f"CollectiveVote: cap is {cap}; expected above 0 and at most 1")
        self.among, self.voter, self.weight, self.ballots, self.cap = tuple(among), voter, weight, ballots, cap
        self.reward, self.ties, self.extract = reward, ties, Extract(extract, pattern)

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The rows, in order, with the reward under `ctx.name`."""
        out, elections = list(rows), []
        groups: dict[tuple[str, ...], list[int]] = {}
        for i, row in enumerate(rows):
            groups.setdefault(row.key(*self.among), []).append(i)
        for key, members in groups.items():
            answers = {i: answer_of(rows[i], self.extract) for i in members}
            held = elect(by_voter((rows[i].key(self.voter)[0], answers[i]) for i in members), self.weight, self.ballots, self.cap)
            label = self._label(held, key, ctx)
            elections.append((held, label))
            for i in members:
                out[i] = self._judged(rows[i], answers[i], label, held, ctx.name)
        for voter in sorted({v for held, _ in elections for v in held.weights}):
            own = [held.weights[voter] for held, _ in elections if voter in held.weights]
            ctx.log(f"vote/weight/{voter}", float(sum(own) / len(own)))
        if elections:
            ctx.log("vote/consistency", float(sum(held.share(w[0]) for held, _ in elections if (w := held.winners)) / len(elections)))
            ctx.log("vote/abstained", sum(label is None for _, label in elections) / len(elections))
        return out

    def _label(self, held: Election, key: tuple[str, ...], ctx: RunCtx) -> str | None:
        tied = held.winners
        if len(tied) < 2 or self.ties == "first":
            return tied[0] if tied else None
        return None if self.ties == "abstain" else ctx.rng("tie", *key).choice(sorted(tied))

    def _judged(self, row: Row, answer: str | None, label: str | None, held: Election, name: str) -> Row:
        if label is None:
            tied = len(held.winners)
            return row.failed(name, "abstain", f"a tie of {tied} answers" if tied else "nobody gave an answer that counts")
        info = {"label": label, "share": f"{float(held.share(label)):.6g}"}
        info["consistency"] = f"{float(held.weights[row.key(self.voter)[0]]):.6g}"
        value = float(held.share(answer)) if self.reward == "share" else float(answer == label)
        return row.rewarded(name, value, info=info if answer is None else {**info, "answer": answer})


def by_voter(pairs: Iterable[tuple[str, str | None]]) -> dict[str, list[str | None]]:
    """{voter: answers} of (voter, answer) pairs."""
    votes: dict[str, list[str | None]] = {}
    for voter, answer in pairs:
        votes.setdefault(voter, []).append(answer)
    return votes
