"""Scores and the trajectories they judge, put together batch by batch: neither table is ever held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..records import Row, Trajectory
from .read import scored_from, words

if TYPE_CHECKING:
    import pyarrow as pa

Open = Callable[[str], Iterator[list[Trajectory]]]
"""Starts to read the table of that path ("main.3/rollout"): its trajectories, by batches."""


def join(scores: Iterable[pa.RecordBatch], open_: Open) -> Iterator[list[Row]]:
    """The rows of a "scores" table, by batches. Raises StoreError for a score whose trajectory is not in the table it names."""
    finders: dict[str, Finder] = {}
    for batch in scores:
        wanted: dict[str, list[str]] = {}
        for source, name in zip(words(batch.column("source")), batch.column("trajectory").to_pylist(), strict=True):
            wanted.setdefault(source, []).append(name)
        finders = {source: finders.get(source) or Finder(source, open_) for source in wanted}  # forgets those that are done with
        found: dict[str, Trajectory] = {}
        for source, names in wanted.items():
            found |= finders[source].find(names)
        made = [scored_from(batch, found)]
        del batch, found, wanted  # before the next are read
        yield made.pop()


class Finder:
    """Trajectories of one table by id. Asked for in the table's order, they take one pass over it; any other order works and is slow."""

    def __init__(self, source: str, open_: Open):
        self._source, self._open = source, open_
        self._held: dict[str, Trajectory] = {}
        self._rest: Iterator[list[Trajectory]] = iter(())

    def find(self, names: Sequence[str]) -> dict[str, Trajectory]:
        """{id: trajectory} for these ids. Raises StoreError when the table does not hold one of them."""
        found: dict[str, Trajectory] = {}
        missing = set(names)
        self._take(missing, found)
        for rest in (self._rest, None):
            if not missing:
                break
            self._rest = self._open(self._source) if rest is None else rest
            self._held = {}  # before the next are read
            for trajectories in self._rest:
                self._held = {t.id: t for t in trajectories}
                del trajectories
                self._take(missing, found)
                if not missing:
                    break
                self._held = {}
        if missing:
            raise StoreError(f"tables/{self._source}.parquet: holds no trajectory '{min(missing)}', which a score names")
        return found

    def _take(self, missing: set[str], found: dict[str, Trajectory]) -> None:
        """Move what is both missing and held to `found`."""
        here = missing & self._held.keys()
        found |= {name: self._held[name] for name in here}
        missing -= here
