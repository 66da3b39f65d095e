"""The run directory: atomic commits, a manifest, and refusal of what the manifest does not vouch for.

Order of a commit: every file is written beside its place, synced and renamed; the metrics line is appended; the manifest line is
appended and synced. The manifest line is the commit: whatever a kill leaves without one is ignored and overwritten on resume.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from . import tables
from .behind import Behind
from .errors import EXIT_STOPPED, StoreError, UserError
from .hashing import Hashing, file_sha
from .records import digest

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST, METRICS, SPEC = "manifest.jsonl", "metrics.jsonl", "spec.yaml"


class DiskFull(StoreError):
    """No space left: the run stopped at its last commit and can be resumed once there is room. Exit status 3."""

    exit_code = EXIT_STOPPED


class RunDir:
    """One run's files under `root`. Open it with `create` or `open`; both take an exclusive lock until `close`."""

    def __init__(self, root: Path):
        self.root = root
        self.manifest: list[dict[str, Any]] = []
        self._places: dict[tuple[str, str], int] = {}
        self._stages: dict[str, list[int]] = {}
        self._shas: dict[str, str] = {}
        self._lock: IO[str] | None = None
        self._behind = Behind()
        self._coming: set[tuple[str, str]] = set()

    @classmethod
    def create(cls, root: Path, spec_yaml: str, environment: Mapping[str, Any], diff: str) -> RunDir:
        """A new run directory. Raises UserError when one is there already: going on with it is `selfevo resume`."""
        if root.exists() and any(root.iterdir()):
            hint = f"continue it with: selfevo resume {root}" if (root / MANIFEST).exists() else "choose another with hydra.run.dir=DIR"
            raise UserError(f"{root}: the run directory already exists and is not empty; {hint}")
        self = cls(root)
        with self._writing(root):
            root.mkdir(parents=True, exist_ok=True)
        self._acquire()
        self.write(SPEC, lambda f: f.write(spec_yaml.encode()))
        self.write("environment.json", lambda f: f.write(json.dumps(environment, indent=1).encode() + b"\n"))
        self.write("code.diff", lambda f: f.write(diff.encode()))
        self.append(METRICS)
        self.append(MANIFEST, {"path": "", "stage": "create", "spec": digest(spec_yaml, 64)})
        return self

    @classmethod
    def open(cls, root: Path) -> RunDir:
        """An existing run directory, cut back to its last whole commit. Raises StoreError when it is no run or was altered."""
        if not (root / MANIFEST).is_file():
            raise UserError(f"{root}: not a run directory (it has no {MANIFEST})")
        self = cls(root)
        self._acquire()
        for entry in self._whole_lines(MANIFEST):
            self._record(entry)
        if not self.manifest:
            raise StoreError(f"{root / MANIFEST}: holds no commit; start the run anew in another directory")
        spec = (root / SPEC).read_text()
        if digest(spec, 64) != self.manifest[0].get("spec"):
            raise StoreError(
                f"{root / SPEC}: differs from the spec this run was started with (recorded sha256 {self.manifest[0].get('spec')}); "
                "put the old one back, or start a new run to change it"
            )
        committed = {(e["path"], e["stage"]) for e in self.manifest}
        lines = [m for m in self._whole_lines(METRICS) if (m["path"], m["stage"]) in committed]
        self.write(METRICS, lambda f: f.write("".join(_line(m) for m in lines).encode()))
        return self

    def close(self) -> BaseException | None:
        """Wait for the commits on their way to the disk and release the lock. Returns why one failed, if nobody has heard of it."""
        lost = self._behind.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        return lost

    def behind(self, path: str, stage: str, work: Callable[[], Any]) -> Any:
        """Have a thread do `work`, which commits this stage, while the caller goes on. Such pieces are done in order, and
        any other commit comes after them. What one raises, the next call that waits raises, as does every later one: nothing is committed
        behind a commit that failed. Returns what `work` does where it is done at once, else None."""
        key = path, stage

        def piece() -> None:
            work()
            self._coming.discard(key)

        self._coming.add(key)
        self._behind.do(piece)

    def settle(self) -> None:
        """Wait until all that was to be committed is; raises why it is not."""
        self._behind.settle()

    def entry(self, path: str, stage: str) -> dict[str, Any] | None:
        """The manifest line of a committed stage, or None."""
        if (path, stage) in self._coming:
            self.settle()
        at = self._places.get((path, stage))
        return None if at is None else self.manifest[at]

    def place(self, path: str, stage: str) -> int:
        """The place of a stage's commit in the manifest, -1 for none."""
        if (path, stage) in self._coming:
            self.settle()
        return self._places.get((path, stage), -1)

    def entries(self, stage: str, newest: int = 0) -> list[dict[str, Any]]:
        """Manifest lines of a stage's commits, oldest first; the `newest` of them where that is above 0."""
        return [self.manifest[at] for at in self._stages.get(stage, ())[-newest:]]

    def metrics(self) -> list[dict[str, Any]]:
        """Every metrics line so far."""
        return self._whole_lines(METRICS)

    def write(self, name: str, fill: Callable[[IO[bytes]], Any]) -> str:
        """Write one file atomically, from its beginning to its end without seeking; returns its sha256."""
        target = self.root / name
        with self._writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + ".part")
            with part.open("wb") as f:
                hashing = Hashing(f)
                fill(cast("IO[bytes]", hashing))
                f.flush()
                os.fsync(f.fileno())
            os.replace(part, target)
        return hashing.sha

    def write_table(self, name: str, parts: Iterable[pa.Table]) -> str:
        """Write a Parquet file of `parts` (at least one) atomically; a few are held at a time. Returns the file's sha256."""
        return self.write(name, lambda f: tables.write(f, parts))

    def write_folder(self, name: str, fill: Callable[[Path], Any]) -> dict[str, str]:
        """Write a folder atomically; returns {file: sha256}. A folder of that name left by a kill is replaced."""
        target = self.root / name
        with self._writing(target):
            part = target.with_name(target.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            fill(part)
            files = sorted(p for p in part.rglob("*") if p.is_file())
            for file in files:
                with file.open("rb") as f:
                    os.fsync(f.fileno())
            shas = {f"{name}/{p.relative_to(part)}": file_sha(p) for p in files}
            if target.exists():
                shutil.rmtree(target)
            os.replace(part, target)
        return shas

    def read_table(self, name: str) -> pa.Table:
        """A committed Parquet file. Raises StoreError naming the file and its recorded hash when it is missing or altered."""
        import pyarrow.parquet as pq

        self.verify(name)
        return pq.read_table(self.root / name)

    def scan_table(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """A committed Parquet file in batches, after its hash was checked; raises as `read_table` does, before the first batch."""
        self.verify(name)
        return tables.scan(self.root / name, columns)

    def verify(self, name: str) -> None:
        """Check a committed file against the hash the manifest recorded."""
        self.settle()
        recorded = self._shas.get(name)
        file = self.root / name
        if recorded is None:
            raise StoreError(f"{file}: no commit in {MANIFEST} wrote this file")
        if not file.is_file():
            raise StoreError(f"{file}: missing; the manifest recorded sha256 {recorded}")
        found = file_sha(file)
        if found != recorded:
            raise StoreError(f"{file}: corrupt; the manifest recorded sha256 {recorded}, the file has {found}")

    def append(self, name: str, line: Mapping[str, Any] | None = None) -> None:
        """Append a JSON line and sync it (None only makes the file)."""
        with self._writing(self.root / name), (self.root / name).open("ab") as f:
            if line is not None:
                start = f.tell()
                try:
                    f.write(_line(line).encode())
                    f.flush()
                    os.fsync(f.fileno())
                except OSError:
                    f.truncate(start)  # a torn line must not stand before a later whole one
                    raise
        if name == MANIFEST and line is not None:
            self._record(dict(line))

    def commit(self, entry: Mapping[str, Any], metrics: Mapping[str, Any] | None = None) -> Mapping[str, Any] | None:
        """Make a stage's outputs count: its metrics line, then its manifest line. Returns the metrics line that was committed."""
        self.settle()
        if metrics is not None:
            self.append(METRICS, metrics)
        self.append(MANIFEST, entry)
        return metrics

    def drop(self, name: str) -> None:
        """Delete a file or a folder that no commit needs any more."""
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _record(self, entry: dict[str, Any]) -> None:
        self._places[entry["path"], entry["stage"]] = len(self.manifest)
        self._stages.setdefault(entry["stage"], []).append(len(self.manifest))
        self._shas.update(entry.get("outputs", {}))
        self.manifest.append(entry)

    def _whole_lines(self, name: str) -> list[dict[str, Any]]:
        """Parsed lines of a JSONL file; a torn last line is cut off, a broken line before it is corruption."""
        file = self.root / name
        data = file.read_bytes() if file.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        out = []
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                out.append(json.loads(line))
            except ValueError as error:
                raise StoreError(f"{file}:{number}: corrupt line ({error})") from error
        if len(whole) < len(data):
            self.write(name, lambda f: f.write(whole))
        return out

    def _acquire(self) -> None:
        self._lock = (self.root / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{self.root}: another process is running in this directory; wait for its end, or stop it first") from error

    @contextmanager
    def _writing(self, target: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"{target}: no space left on the disk; free some, then: selfevo resume {self.root}") from error
            raise StoreError(f"{target}: cannot write ({error.strerror or error})") from error


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")) + "\n"
