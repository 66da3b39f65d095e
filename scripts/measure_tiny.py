"""Measure what the bundled tiny policy can do in each role and write the table into its model card.

`python scripts/measure_tiny.py` reads selfevo/assets/tiny, samples at temperature 1 and rewrites the part of its README.md between
the two `measured` marks. Every number is a share with its 95% Wilson interval.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from tiny_check import Asker, solved
from tiny_demos import ADVICE, PROMPTS
from transformers import AutoModelForCausalLM, AutoTokenizer

from selfevo.prompts import render
from selfevo.records import Task
from selfevo.seeds import rng
from selfevo.tasks import ChainSum, Countdown, Operators, Procedural, Sorting
from selfevo.verifiers.answers import after_hash

ASSETS = Path(__file__).parents[1] / "selfevo/assets/tiny"
FAMILIES: tuple[Procedural, ...] = (ChainSum(), Countdown(), Sorting(), Operators())
START, END = "<!-- measured: start -->", "<!-- measured: end -->"
Line = tuple[str, Sequence[bool]]


def wilson(hits: Sequence[bool]) -> str:
    """"0.42 (0.38 to 0.46)": the share and its 95% Wilson score interval."""
    n, z = len(hits), 1.96
    p = sum(hits) / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return f"{p:.2f} ({low:.2f} to {high:.2f})"


class Family:
    """All measurements of one family on the same `n` tasks, its levels in equal shares."""

    def __init__(self, ask: Asker, family: Procedural, n: int) -> None:
        self.ask, self.family, self.name = ask, family, family.name
        levels = family.levels
        self.tasks = [family.draw(rng("measure", self.name, i), level=levels[i % len(levels)]) for i in range(n)]
        self.first = self.say("first", "solve", self.tasks)
        self.right = self.judge(self.tasks, self.first)

    def say(self, key: str, prompt: str, tasks: Sequence[Task], **more: Sequence[str]) -> list[str]:
        """Replies to a prompt of the terse pack; `more` gives one value of a further variable per task."""
        chats = [render(PROMPTS[prompt], {**t.vars, **{k: v[i] for k, v in more.items()}}) for i, t in enumerate(tasks)]
        return self.ask(f"{self.name}/{key}", chats)

    def judge(self, tasks: Sequence[Task], texts: Sequence[str]) -> list[bool]:
        """Which replies are right."""
        return [solved(task, text) for task, text in zip(tasks, texts, strict=True)]

    def ruled(self) -> list[str]:
        """What the solver must be told for the question to have one answer: an operator's rule (nothing in other families)."""
        return [f"{t.vars['rule']}\n{t.vars['question']}" if "rule" in t.vars else t.vars["question"] for t in self.tasks]

    def solving(self) -> list[Line]:
        """Alone, by level."""
        rows: list[Line] = [("solve", self.right)]
        for level in self.family.levels:
            rows.append((f"solve, level {level:g}", [r for t, r in zip(self.tasks, self.right, strict=True) if t.difficulty == level]))
        return rows

    def helped(self) -> list[Line]:
        """With a hint, with a peer, after feedback: each beside its control on the same tasks."""
        steps = [self.family.steps(t) for t in self.tasks]
        hints = ["\n".join(s[: (len(s) + 1) // 2]) for s in steps]
        gold = [self.family.gold(t) for t in self.tasks]
        missed = [i for i, right in enumerate(self.right) if not right]
        tasks, replies = [self.tasks[i] for i in missed], [self.first[i] for i in missed]
        rows: list[Line] = [
            ("with a hint: the first half of the steps", self.judge(self.tasks, self.say("hint", "solve_hint", self.tasks, hint=hints))),
            ("with a peer who is right", self.judge(self.tasks, self.say("peer", "solve_peer", self.tasks, peer=gold))),
        ]
        if missed:
            feedback = self.say("revise", "revise", tasks, response=replies, feedback=["wrong"] * len(tasks))
            shown = self.say("wrong", "solve_peer", tasks, peer=replies)
            rows += [
                ("missed at first: a fresh attempt", self.judge(tasks, self.say("again", "solve", tasks))),
                ("missed at first: after the feedback `wrong`", self.judge(tasks, feedback)),
                ("missed at first: own wrong attempt shown as a peer's", self.judge(tasks, shown)),
            ]
        return rows

    def told(self) -> list[Line]:
        """With a rule or with advice in the context."""
        texts = {"chain_sum": [ADVICE["carry"], ADVICE["borrow"]], "sorting": [ADVICE["place"]]}.get(self.name)
        if self.name == "operators":
            every = [self._rules()] * len(self.tasks)
            alone = [t.vars["rule"] for t in self.tasks]
            return [
                ("with its rule", self.judge(self.tasks, self.say("rule", "solve_rule", self.tasks, rule=alone))),
                ("with the rules of all six symbols", self.judge(self.tasks, self.say("rules", "solve_rule", self.tasks, rule=every))),
            ]
        if texts is None:
            return []
        advice = ["\n".join(texts)] * len(self.tasks)
        label = "with the advice " + " and ".join(f"`{text}`" for text in texts)
        return [(label, self.judge(self.tasks, self.say("advice", "solve_rule", self.tasks, rule=advice)))]

    def _rules(self) -> str:
        seen = {t.vars["symbol"]: t.vars["rule"] for t in self.tasks}
        return "\n".join(seen[symbol] for symbol in sorted(seen))

    def judging(self) -> list[Line]:
        """Verifying its own attempts: told apart where they are right and where they are wrong; balanced accuracy is the mean."""
        attempts = self.first
        if self.name == "operators":
            attempts = self.say("ruled", "solve_rule", self.tasks, rule=[t.vars["rule"] for t in self.tasks])
        truth = self.judge(self.tasks, attempts)
        verdicts = [after_hash(text) for text in self.say("verify", "verify", self.tasks, question=self.ruled(), response=attempts)]
        rows: list[Line] = []
        for word, want in (("right", True), ("wrong", False)):
            kept = [v == ("yes" if want else "no") for v, t in zip(verdicts, truth, strict=True) if t is want]
            if kept:
                rows.append((f"verify: own {word} attempt is judged {word}", kept))
        return rows

    def proposing(self) -> list[Line]:
        """Proposing: the question is well-formed, of the level asked, and answered rightly."""
        texts = self.say("propose", "propose", self.tasks)
        made = [self.family.parse(text.splitlines()[0] if text else "") for text in texts]
        asked = [m is not None and m.difficulty == t.difficulty for m, t in zip(made, self.tasks, strict=True)]
        answered = [m is not None and solved(m, text) for m, text in zip(made, texts, strict=True)]
        rows: list[Line] = [("propose: well-formed", [m is not None for m in made]), ("propose: of the level asked", asked)]
        return rows if self.name == "operators" else [*rows, ("propose: well-formed and answered rightly", answered)]

    def lines(self) -> list[Line]:
        """Every measurement, in the order of the table."""
        return [*self.solving(), *self.helped(), *self.told(), *self.judging(), *self.proposing()]


def table(ask: Asker, n: int) -> str:
    """The Markdown table of all families."""
    out = ["| family | what | share (95% interval) | n |", "|---|---|---|---|"]
    for family in FAMILIES:
        for what, hits in Family(ask, family, n).lines():
            out.append(f"| {family.name} | {what} | {wilson(hits)} | {len(hits)} |")
            print(out[-1], flush=True)
    return "\n".join(out)


def main() -> None:
    """Measure and rewrite the card."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--policy", type=Path, default=ASSETS)
    cli.add_argument("--tasks", type=int, default=600, help="tasks per family")
    cli.add_argument("--seed", type=int, default=0)
    args = cli.parse_args()
    ask = Asker(AutoModelForCausalLM.from_pretrained(args.policy), AutoTokenizer.from_pretrained(args.policy), args.seed)
    text = table(ask, args.tasks)
    card = args.policy / "README.md"
    if not card.exists():
        return
    before, _, rest = card.read_text().partition(START)
    _, _, after = rest.partition(END)
    head = f"`python scripts/measure_tiny.py --tasks {args.tasks} --seed {args.seed}`, temperature 1:"
    card.write_text(f"{before}{START}\n{head}\n\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
