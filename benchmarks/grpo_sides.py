"""The two sides of the GRPO benchmark: a whole run of selfevo, and TRL's trainer on the same tasks from the same weights."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks import trl_peer
from selfevo import spec
from selfevo.commits import read_rows
from selfevo.models import Pretrained
from selfevo.observer import Observer
from selfevo.records import Row
from selfevo.running import execute

TASKS, GROUP, MAX_TOKENS = 16, 16, 96


@dataclass
class Ran:
    """What one repeat did in each update: replies generated and trained on, their tokens, their mean reward, and when it had ended, in
    seconds from the start of the first; and the seconds of it all, loading and the last checkpoint included."""

    replies: list[int]
    tokens: list[int]
    ended: list[float]
    whole: float
    rewards: list[float]

    def later(self, what: Literal["replies", "tokens"]) -> float:
        """`what` a second, after the first update: the first use of anything is slow."""
        return sum(getattr(self, what)[1:]) / (self.ended[-1] - self.ended[0])


@dataclass(frozen=True)
class Sizes:
    """Updates of a repeat, and the tasks and group of each."""

    updates: int
    tasks: int = TASKS
    group: int = GROUP

    @property
    def rows(self) -> int:
        """Replies of one update."""
        return self.tasks * self.group


def overrides(sizes: Sizes, dtype: str) -> list[str]:
    """The quickstart without its evaluations, with what TRL fixes: its epsilon, and a learning rate that both sides share."""
    return [
        "+experiment=quickstart", "stages.evaluate=null", "loop.start=null", "loop.main.do=[rollout,score,train]",
        f"scale.iterations={sizes.updates}", f"scale.tasks={sizes.tasks}", f"scale.group={sizes.group}", f"scale.max_tokens={MAX_TOKENS}",
        f"optimizer.lr={trl_peer.LR}", f"optimizer.betas={list(trl_peer.BETAS)}", f"optimizer.weight_decay={trl_peer.WEIGHT_DECAY}",
        f"optimizer.clip_norm={trl_peer.CLIP}", f"optimizer.advantage.outcome.eps={trl_peer.STD_EPS}", f"model.dtype={dtype}",
    ]  # fmt: skip


class Stopwatch(Observer):
    """From the start of the first stage to the commit of the last one; the last checkpoint comes after it (TRL writes none).
    `trained`: the commits of stages that trained, in seconds from the start."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        self.trained: list[float] = []

    def stage(self, path: str, stage: str, kind: str, iteration: int, total: int) -> None:
        """A stage begins."""
        self.began = self.began or time.perf_counter()

    def line(self, line: Mapping[str, Any]) -> None:
        """A stage was committed."""
        self.ended = time.perf_counter()
        if line["stage"] == "train":
            self.trained.append(self.ended - self.began)


class Ours:
    """`selfevo.running.execute`, tables, commits and metrics included, each time in a new directory."""

    def __init__(self, sizes: Sizes, dtype: str = "float32"):
        self.spec, self.sizes = spec.read(overrides(sizes, dtype)), sizes
        self.rows: list[list[Row]] = []

    def run(self) -> Ran:
        """One repeat; `rows` are then those of each update."""
        watch = Stopwatch()
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            done = execute(self.spec, Path(folder) / "run", observers=[watch])
            whole = time.perf_counter() - began
            self.rows = [list(read_rows(done.store, f"main.{i}", "score")) for i in range(self.sizes.updates)]
        broken = next((r.trajectory.error for rows in self.rows for r in rows if r.trajectory.status == "error"), None)
        if broken:
            raise RuntimeError(f"a reply of the run ended in error: {broken}")
        samples = done.world.history["train/samples"]
        tokens = [sum(r.trajectory.length for r in rows) for rows in self.rows]
        rewards = [sum(r.reward("exact") or 0.0 for r in rows) / len(rows) for rows in self.rows]
        return Ran([int(n) for n in samples], tokens, watch.trained, whole, rewards)


def data(rows: Sequence[Sequence[Row]], group: int, tokenizer: Any) -> list[dict[str, str]]:
    """The tasks of a run in their order, prompts as they were rendered (the trainer tokenizes them to the same ids)."""
    firsts = [r for update in rows for r in update[::group]]
    found = []
    for r in firsts:
        ids = list(r.trajectory.turns[0].context)
        text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if tokenizer(text)["input_ids"] != ids:
            raise ValueError(f"the prompt {text!r} does not come back as the same ids")
        found.append({"prompt": text, "answer": str(r.trajectory.task.answer)})
    return found


def exact(text: str, answer: str) -> float:
    """The quickstart's rule: what follows the last `####` on its line equals the answer."""
    found = [x.strip() for x in re.findall(r"####([^\n]*)", text)]
    return float(bool(found) and found[-1] == answer)


class Theirs:
    """TRL's trainer, made anew for each repeat from the bundled weights."""

    def __init__(self, sizes: Sizes, tasks: Sequence[dict[str, str]], split: int, dtype: str = "float32", **settings: Any):
        self.sizes, self.tasks, self.split, self.dtype, self.settings = sizes, tasks, split, dtype, settings
        self.tokens: list[int] = []
        self.rewards: list[list[float]] = []

    def reward(self, completions: Sequence[str], completion_ids: Sequence[Sequence[int]], answer: Sequence[str], **_: Any) -> list[float]:
        """The reward function; keeps what it is shown."""
        found = [exact(c, a) for c, a in zip(completions, answer, strict=True)]
        self.tokens.append(sum(map(len, completion_ids)))
        self.rewards.append(found)
        return found

    def make(self, folder: str) -> Any:
        """A trainer with the bundled policy."""
        live = Pretrained("tiny", dtype=self.dtype).load("solver").to_transformers()  # type: ignore[arg-type]
        s = self.sizes
        settings = trl_peer.config(folder, s.rows, self.split, s.group, MAX_TOKENS, s.updates, **self.settings)
        return trl_peer.trainer(live.model, live.tokenizer, self.tasks, self.reward, settings)

    def run(self) -> Ran:
        """One repeat."""
        from transformers import TrainerCallback

        marks: list[float] = []

        class Watch(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                marks.append(time.perf_counter())

            on_step_end = on_train_begin

        self.tokens, self.rewards = [], []
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            made = self.make(folder)
            made.add_callback(Watch)
            made.train()
            whole = time.perf_counter() - began
        if made.state.global_step != self.sizes.updates:
            raise RuntimeError(f"TRL took {made.state.global_step} steps of {self.sizes.updates}")
        ended = [mark - marks[0] for mark in marks[1:]]
        return Ran([len(r) for r in self.rewards], self.tokens, ended, whole, [sum(r) / len(r) for r in self.rewards])
