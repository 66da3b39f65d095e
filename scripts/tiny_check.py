"""Asking a small policy many things at once, and checking what it answers."""

from __future__ import annotations

from collections.abc import Sequence

from tiny_demos import FAMILIES, PROMPTS
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from selfevo.codec import ChatCodec
from selfevo.engines import Native
from selfevo.policies import LivePolicy
from selfevo.prompts import render
from selfevo.protocols import GenerateRequest, Sampling
from selfevo.records import Message, Task, Version
from selfevo.seeds import derive, rng
from selfevo.verifiers.answers import after_hash
from selfevo.verifiers.countdown import evaluate, plain


class Asker:
    """Samples replies of one policy; every reply has its own seed, so results do not depend on what is asked together."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int = 0, temperature: float = 1.0) -> None:
        codec = ChatCodec(tokenizer, model.config.max_position_embeddings)
        self.engine, self.codec, self.seed = Native(), codec, seed
        self.engine.load(LivePolicy("tiny", model, tokenizer, codec, Version("tiny", "000000")))
        self.sampling = Sampling(max_tokens=128, temperature=temperature)

    def __call__(self, key: str, chats: Sequence[Sequence[Message]]) -> list[str]:
        """One reply per conversation; `key` and the place in the list decide the draws."""
        requests = [
            GenerateRequest(self.codec.open(chat), derive(self.seed, key, i), self.sampling) for i, chat in enumerate(chats)
        ]
        return [completion.text for completion in self.engine.generate(requests)]


def solved(task: Task, text: str) -> bool:
    """Whether the reply's last `####` line holds the right answer (for countdown, any right expression)."""
    answer = after_hash(text)
    if answer is None or task.category != "countdown":
        return answer == task.answer
    try:
        value, used = evaluate(plain(answer))
    except ValueError:
        return False
    return value == task.vars["target"] and sorted(used) == task.vars["numbers"]


def accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, per_level: int) -> dict[str, float]:
    """Share of tasks solved alone at temperature 1, per "family level"; operators are told their rule."""
    training = model.training
    ask, out = Asker(model, tokenizer), {}
    for name, family in FAMILIES.items():
        tasks = [family.draw(rng("check", name, level, i), level=level) for level in family.levels for i in range(per_level)]
        prompt = PROMPTS["solve_rule" if name == "operators" else "solve"]
        texts = ask(name, [render(prompt, task.vars) for task in tasks])
        for level in family.levels:
            hits = [solved(task, text) for task, text in zip(tasks, texts, strict=True) if task.difficulty == level]
            out[f"{name} {level:g}"] = sum(hits) / len(hits)
    model.train(training)
    return out
