"""Dataset: tasks from a JSONL or Parquet file, a directory, or a Hugging Face dataset."""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

from ..errors import UserError
from ..records import Lineage, Task
from .reading import Columns, read

ANSWER, CATEGORY, DIFFICULTY = "answer", "category", "difficulty"


class Dataset:
    """A finite task source; rows are read once, when first asked for.

    path: a `.jsonl` or `.parquet` file; a directory holding `<split>.jsonl` or `<split>.parquet`, or saved by `datasets`; else
        the name of a dataset on the Hugging Face hub.
    split: which split of a directory or hub dataset.
    subset: configuration of a hub dataset (GSM8K has "main").
    fields: prompt variable to field in the data. `answer`, `category` and `difficulty` have a meaning of their own and may be left
        out; every other entry becomes a variable that prompts may use ({question: problem}).
    answer: how the reference answer is read from its field: "raw" (the field itself), "gsm8k" (what follows the last "####",
        thousands separators removed; Cobbe et al. 2021) or "boxed" (content of the last \\boxed{}; Hendrycks et al. 2021).
    levels: keep only these difficulties (empty: all).
    limit: keep only the first so many of what is left.
    name: category of tasks that have none in the data, and their origin; default: the path.

    A difficulty is a number or text that ends in one ("Level 3"); text without one ("Level ?") leaves it out.
    """

    def __init__(
        self,
        path: str,
        split: str = "train",
        subset: str | None = None,
        fields: Mapping[str, str] | None = None,
        answer: Literal["raw", "gsm8k", "boxed"] = "raw",
        levels: tuple[float, ...] = (),
        limit: int | None = None,
        name: str | None = None,
    ):
        if answer not in READERS:
            raise UserError(f"dataset '{path}': answer is '{answer}'; expected one of {', '.join(READERS)}")
        if limit is not None and limit < 1:
            raise UserError(f"dataset '{path}': limit is {limit}; expected at least 1, or null for all")
        self.path, self.split, self.subset, self.answer, self.limit = path, split, subset, answer, limit
        self.fields = dict(fields) if fields is not None else {"question": "question", ANSWER: "answer"}
        if not set(self.fields) - {ANSWER, CATEGORY, DIFFICULTY}:
            raise UserError(f"dataset '{path}': fields name no prompt variable; expected for example {{question: problem}}")
        self.chosen, self.name = tuple(float(level) for level in levels), name or path

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Task:
        """Task `index`. Raises IndexError beyond the end and UserError when its answer is not in the format `answer` says."""
        at = self._kept[index]
        variables = {name: self._columns[field][at] for name, field in self.fields.items() if name not in (ANSWER, CATEGORY, DIFFICULTY)}
        category, difficulty = self._cell(at)
        return Task(variables, self._answer(at), category, difficulty, lineage=Lineage(self.name))

    def __iter__(self) -> Iterator[Task]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Every category, sorted."""
        return tuple(sorted({category for category, _ in self._by_cell}))

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """Every difficulty, ascending."""
        return tuple(sorted({level for _, level in self._by_cell if level is not None}))

    @cached_property
    def cells(self) -> tuple[tuple[str, float | None], ...]:
        """The (category, difficulty) pairs that have tasks."""
        return tuple(sorted(self._by_cell, key=lambda cell: (cell[0], cell[1] is not None, cell[1] or 0.0)))

    def draw(self, rng: random.Random, category: str | None = None, level: float | None = None) -> Task:
        """One task, uniform over the rows that match."""
        if category is None and level is None:
            return self[rng.randrange(len(self))]
        pools, ends = self._matching(category, level)
        if not pools:
            raise UserError(
                f"dataset '{self.path}' has no task of category {category} at difficulty {level} "
                f"(categories: {', '.join(self.categories)}; difficulties: {', '.join(f'{x:g}' for x in self.levels) or 'none'})"
            )
        at = rng.randrange(ends[-1])
        which = bisect_right(ends, at)
        return self[pools[which][at - ends[which]]]  # counted from the pool's end

    def _matching(self, category: str | None, level: float | None) -> tuple[list[list[int]], list[int]]:
        """The cells' positions that match, and where each would end if they stood one after the other."""
        if (category, level) not in self._matched:
            pools = [self._by_cell[c] for c in self.cells if category in (None, c[0]) and level in (None, c[1])]
            self._matched[category, level] = pools, list(accumulate(map(len, pools)))
        return self._matched[category, level]

    @cached_property
    def _matched(self) -> dict[tuple[str | None, float | None], tuple[list[list[int]], list[int]]]:
        """What `_matching` has found."""
        return {}

    @cached_property
    def _columns(self) -> Columns:
        columns = read(self.path, self.split, self.subset, sorted(set(self.fields.values())))
        if not len(next(iter(columns.values()))):
            raise UserError(f"dataset '{self.path}' (split {self.split}) is empty")
        for name, field in self.fields.items():
            if name not in (ANSWER, CATEGORY, DIFFICULTY) and None in columns[field]:
                row = columns[field].index(None)
                raise UserError(f"dataset '{self.path}': row {row} has null in field '{field}', which prompts read as {{{name}}}")
        return columns

    @cached_property
    def _kept(self) -> list[int]:
        """Row numbers after `levels` and `limit`."""
        rows = range(len(next(iter(self._columns.values()))))
        kept = [i for i in rows if not self.chosen or self._cell(i)[1] in self.chosen][: self.limit]
        if not kept:
            raise UserError(f"dataset '{self.path}' has no task at difficulties {', '.join(f'{x:g}' for x in self.chosen)}")
        return kept

    @cached_property
    def _by_cell(self) -> dict[tuple[str, float | None], list[int]]:
        """Positions in this source (not row numbers) per (category, difficulty)."""
        cells: dict[tuple[str, float | None], list[int]] = {}
        for position, row in enumerate(self._kept):
            cells.setdefault(self._cell(row), []).append(position)
        return cells

    def _cell(self, row: int) -> tuple[str, float | None]:
        category, level = self.fields.get(CATEGORY), self.fields.get(DIFFICULTY)
        return (
            str(self._columns[category][row]) if category is not None else self.name,
            _difficulty(self._columns[level][row]) if level is not None else None,
        )

    def _answer(self, row: int) -> str | None:
        if ANSWER not in self.fields:
            return None
        value = self._columns[self.fields[ANSWER]][row]
        if value is None:
            return None
        answer = READERS[self.answer](str(value))
        if answer is None:
            raise UserError(f"dataset '{self.path}': row {row} has no answer in format '{self.answer}': {str(value)[-60:]!r}")
        return answer


def after_hashes(text: str) -> str | None:
    """GSM8K reference: what follows the last "####", without thousands separators; None when there is no "####"."""
    _, mark, answer = text.rpartition("####")
    return re.sub(r"(?<=\d),(?=\d)", "", answer.strip()) if mark else None


def last_boxed(text: str) -> str | None:
    """MATH reference: content of the last \\boxed{...} (or \\fbox), braces balanced; None when there is none or it is not closed."""
    starts = [m.end() for m in re.finditer(r"\\f?boxed\s*\{", text)]
    if not starts:
        bare = re.findall(r"\\boxed\s+([^\s$\\{}]+)", text)  # a few MATH solutions write "\boxed 2"
        return bare[-1] if bare else None
    depth = 1
    for end in range(starts[-1], len(text)):
        escaped = text[end - 1] == "\\"
        depth += (text[end] == "{" and not escaped) - (text[end] == "}" and not escaped)
        if depth == 0:
            return text[starts[-1] : end].strip()
    return None


def _raw(text: str) -> str | None:
    return text


READERS = {"raw": _raw, "gsm8k": after_hashes, "boxed": last_boxed}


def _difficulty(value: Any) -> float | None:
    if value is None or isinstance(value, (int, float)):
        return None if value is None else float(value)
    number = re.search(r"-?\d+(?:\.\d+)?\s*$", str(value))
    return float(number.group()) if number else None
