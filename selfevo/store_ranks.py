"""The run directory of several ranks: the main rank writes, the others hear of each commit and can read what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .ranks import Ranks
from .store import RunDir

if TYPE_CHECKING:
    import pyarrow as pa


class Ranked(RunDir):
    """One of several ranks': nothing is done behind its back, since what ranks tell each other has its place in all that they say."""

    ranks: Ranks

    def behind(self, path: str, stage: str, work: Callable[[], Any]) -> Any:
        """At once."""
        return work()


class Leading(Ranked):
    """The main rank's: each commit is told to the others, after it is on disk."""

    def commit(self, entry: Mapping[str, Any], metrics: Mapping[str, Any] | None = None) -> Mapping[str, Any] | None:
        """Write, then tell."""
        super().commit(entry, metrics)
        self.ranks.broadcast((dict(entry), metrics))
        return metrics


class Following(Ranked):
    """Another rank's: writes nothing."""

    def __init__(self, root: Path, ranks: Ranks, manifest: Iterable[Mapping[str, Any]]):
        """`manifest`: what the main rank has committed so far."""
        super().__init__(root)
        self.ranks = ranks
        for entry in manifest:
            self._record(dict(entry))

    def commit(self, entry: Mapping[str, Any], metrics: Mapping[str, Any] | None = None) -> Mapping[str, Any] | None:
        """Wait for the main rank's commit, and record it. Returns its metrics line, which differs in times."""
        told, heard = self.ranks.broadcast()
        self._record(told)
        return heard

    def drop(self, name: str) -> None:
        """Nothing."""

    def write(self, name: str, fill: Callable[[IO[bytes]], Any]) -> str:
        """Nothing: the main rank writes."""
        return ""

    def write_table(self, name: str, parts: Iterable[pa.Table]) -> str:
        """Nothing."""
        return ""

    def write_folder(self, name: str, fill: Callable[[Path], Any]) -> dict[str, str]:
        """Nothing."""
        return {}

    def append(self, name: str, line: Mapping[str, Any] | None = None) -> None:
        """Nothing."""


def ranked(ranks: Ranks, make: Callable[[type[RunDir]], RunDir]) -> RunDir:
    """The run's directory as this rank sees it. `make` creates or opens it as a class it is given; only the main rank's is called."""
    if ranks.count == 1:
        return make(RunDir)

    def led() -> tuple[Path, list[dict[str, Any]]]:
        store = make(Leading)
        store.ranks = ranks  # type: ignore[attr-defined]
        held.append(store)
        return store.root, store.manifest

    held: list[RunDir] = []
    root, manifest = ranks.lead(led, lambda question: None)
    return held[0] if held else Following(root, ranks, manifest)
