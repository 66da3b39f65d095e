"""ReasoningGym: the hundred procedural datasets of the `reasoning-gym` package as a task source."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

from ..errors import UserError, nearest
from ..records import Lineage, Task
from ..seeds import derive

SEEDS = 2**31
"""Item seeds lie below this: some datasets pass them to NumPy, which takes 32 bits."""
MIX = 5
"""Items generated per seed where a dataset fixes its mix of item kinds when it is built; one of them is used."""


class ReasoningGym:
    """Tasks of one Reasoning Gym dataset (Stojanovski et al. 2025, arXiv 2505.24760), endless or `size` of them.

    The package draws item i from Random(seed + i), so that its items for seeds 42 and 43 are the same but for one. Here each item
    has a seed of its own, a hash of (dataset, `seed`, level, draw), and is the first item under that seed: sources with different
    `seed` share items only by chance. `vars["item_seed"]` rebuilds the item for `grade`; it takes no part in the task's id, which is that
    of the question, so an equal question is caught by held-out checks however it was drawn.

    dataset: its name there ("chain_sum").
    size: number of tasks, the same ones in every run; None for endless.
    seed: which items; give training and evaluation different ones.
    config: settings of the dataset ({min_terms: 3}), checked against its own config class.
    levels: difficulties to draw, as positions in the dataset's own curriculum (0 is easiest); empty: `config` alone decides and
        tasks carry no difficulty.
    strict: `grade` pays 1 for a fully right answer and 0 else. The package's default scorer pays 0.67 for "112" instead of "12".
    """

    def __init__(
        self,
        dataset: str,
        size: int | None = None,
        seed: int = 0,
        config: Mapping[str, int | float | str | bool] | None = None,
        levels: Sequence[int] = (),
        strict: bool = True,
    ):
        if size is not None and size < 1:
            raise UserError(f"reasoning_gym '{dataset}': size is {size}; expected at least 1, or null for endless")
        self.dataset, self.size, self.seed, self.strict = dataset, size, seed, strict
        self.config = dict(config or {})
        self.chosen = tuple(sorted(set(levels)))

    @property
    def categories(self) -> tuple[str, ...]:
        """The dataset's name."""
        return (self.dataset,)

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels asked for, ascending; empty when none were."""
        return tuple(float(level) for level in self.chosen)

    def draw(self, rng: random.Random, category: str | None = None, level: float | None = None) -> Task:
        """One task, uniform over the levels (or at `level`), and over the `size` items of it when the source is finite."""
        if category not in (None, self.dataset) or (level is not None and level not in self.levels):
            raise UserError(f"reasoning_gym '{self.dataset}' has no task of category {category} at level {level} (levels: {self.chosen})")
        if self.size is not None:
            per_level = range(self.size) if level is None else range(self.chosen.index(int(level)), self.size, len(self.chosen))
            if not per_level:
                raise UserError(f"reasoning_gym '{self.dataset}': size {self.size} leaves no task at level {level:g}")
            return self[rng.choice(per_level)]
        at = int(level) if level is not None else rng.choice(self.chosen) if self.chosen else None
        return self.task(derive("reasoning_gym", self.dataset, self.seed, at, "draw", rng.getrandbits(64)) % SEEDS, at)

    def __len__(self) -> int:
        if self.size is None:
            raise TypeError(f"reasoning_gym '{self.dataset}' is endless: it has no length")
        return self.size

    def __getitem__(self, index: int) -> Task:
        """Task `index` of a finite source; its level cycles through the levels."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        at = self.chosen[index % len(self.chosen)] if self.chosen else None
        return self.task(derive("reasoning_gym", self.dataset, self.seed, at, "item", index) % SEEDS, at)

    def __iter__(self) -> Iterator[Task]:
        return (self[i] for i in range(len(self)))

    def task(self, item_seed: int, level: int | None = None) -> Task:
        """The task of one item seed."""
        entry = self.entry(item_seed, level)
        question, answer = str(entry["question"]), entry["answer"]
        made = Task(
            {"question": question},
            None if answer is None else str(answer),
            category=self.dataset,
            difficulty=None if level is None else float(level),
            lineage=Lineage(f"reasoning_gym/{self.dataset}"),
        )
        extra = {"item_seed": item_seed} if level is None else {"item_seed": item_seed, "item_level": level}
        return replace(made, vars={**made.vars, **extra})  # keeps the id of the bare question

    def entry(self, item_seed: int, level: int | None = None) -> dict[str, Any]:
        """The package's own record of an item: question, answer, metadata. Global random states are left as they were."""
        import numpy as np

        state, numpy_state = random.getstate(), np.random.get_state()
        random.seed(item_seed)  # a few generators draw from the global state
        try:
            dataset, rebuild = self._built[level]
            if rebuild:
                return dict(self._make(replace(dataset.config, seed=item_seed, size=MIX))[item_seed % MIX])
            seeded = copy.copy(dataset)
            seeded.seed, seeded.config = item_seed, replace(dataset.config, seed=item_seed)
            return dict(seeded[0])
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)

    def grade(self, task: Task, answer: str | None) -> float:
        """Score in [0, 1] of an answer by the dataset's own scorer, which knows every right answer; with `strict`, 1.0 or 0.0.

        Raises ValueError for a task that is not from this dataset. Errors of the scorer are not caught.
        """
        if "item_seed" not in task.vars or task.category != self.dataset:
            raise ValueError(f"task {task.id} is not from reasoning_gym '{self.dataset}'")
        level = task.vars.get("item_level")
        entry = self.entry(int(task.vars["item_seed"]), level)
        score = float(self._built[level][0].score_answer(answer, entry))
        return float(score == 1.0) if self.strict else score

    @cached_property
    def _built(self) -> dict[int | None, tuple[Any, bool]]:
        """Per level, a dataset object and whether another seed needs another object (what it holds depends on the seed)."""
        built: dict[int | None, tuple[Any, bool]] = {}
        for level in self.chosen or (None,):
            config = self._config(level)
            one, other = self._make(replace(config, seed=1, size=MIX)), self._make(replace(config, seed=2, size=MIX))
            held = [{k: v for k, v in vars(d).items() if k not in ("seed", "config")} for d in (one, other)]
            built[level] = (one, not _same(*held))
        return built

    def _config(self, level: int | None) -> Any:
        """The dataset's config object, with `config` on top of what its curriculum sets for `level`."""
        try:
            from reasoning_gym.coaching.base_curriculum import DefaultCurriculumContext, RangeAttributeMode
            from reasoning_gym.factory import CURRICULA, DATASETS
        except ImportError as error:
            raise UserError("task reasoning_gym needs the package 'reasoning-gym': pip install 'selfevo[tasks]'") from error
        if self.dataset not in DATASETS:
            raise UserError(f"reasoning_gym has no dataset '{self.dataset}'{nearest(self.dataset, DATASETS)}")
        config_class = DATASETS[self.dataset][1]
        names = [f.name for f in fields(config_class) if f.name not in ("seed", "size")]
        for name in self.config:
            if name not in names:
                raise UserError(f"reasoning_gym '{self.dataset}': unknown setting '{name}'{nearest(name, names)}")
        try:
            if level is None:
                config = config_class(**self.config)
            else:
                if self.dataset not in CURRICULA:
                    raise UserError(f"reasoning_gym '{self.dataset}' has no levels; leave 'levels' out and use 'config'")
                curriculum = CURRICULA[self.dataset]()
                top = max(len(attribute.levels) for attribute in curriculum.attributes.values()) - 1
                if not 0 <= level <= top:
                    raise UserError(f"reasoning_gym '{self.dataset}': level {level} is not among 0..{top}")
                curriculum.set_global_level(level)
                context = DefaultCurriculumContext(mode=RangeAttributeMode.UPPER_BOUND)
                config = replace(curriculum.generate_configuration({}, context), **self.config)
            if hasattr(config, "validate"):  # two datasets have nothing to check
                config.validate()
        except (AssertionError, TypeError, ValueError) as error:
            raise UserError(f"reasoning_gym '{self.dataset}': {self.config} is refused: {error or 'invalid value'}") from error
        return config

    def _make(self, config: Any) -> Any:
        from reasoning_gym.factory import DATASETS

        return DATASETS[self.dataset][0](config=config)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two datasets of different seeds hold equal plain data; anything that cannot be compared counts as different."""
    try:
        return bool(one == other)
    except ValueError:  # arrays have no single truth value
        return False
