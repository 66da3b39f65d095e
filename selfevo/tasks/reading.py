"""Rows of a JSONL file, a Parquet file, a directory or a Hugging Face dataset, as plain columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest

Columns = dict[str, list[Any]]
"""Field name to its values, all of the same length."""

SUFFIXES = (".jsonl", ".json", ".parquet")


def read(path: str, split: str, subset: str | None, wanted: Sequence[str]) -> Columns:
    """The `wanted` fields of every row. Raises UserError naming the file or dataset, and the nearest valid choice.

    `path` is a file, a directory (with `<split>.jsonl` or `<split>.parquet`, or one written by `datasets`' `save_to_disk`),
    or else the name of a dataset on the Hugging Face hub.
    """
    at = Path(path)
    if at.is_dir():
        files = [at / f"{split}{suffix}" for suffix in SUFFIXES]
        found = next((f for f in files if f.is_file()), None)
        return _file(found, wanted) if found else _saved(at, split, wanted)
    if at.is_file():
        return _file(at, wanted)
    if at.suffix in SUFFIXES or path.startswith((".", "/", "~")) or path.count("/") > 1:
        beside = [p.name for p in at.parent.iterdir()] if at.parent.is_dir() else []
        raise UserError(f"dataset file '{path}' does not exist{nearest(at.name, beside)}")
    return _hub(path, split, subset, wanted)


def _file(path: Path, wanted: Sequence[str]) -> Columns:
    if path.suffix == ".parquet":
        return _parquet(path, wanted)
    if path.suffix in (".jsonl", ".json"):
        return _jsonl(path, wanted)
    raise UserError(f"dataset file '{path}' has an unknown format; expected one of {', '.join(SUFFIXES)}")


def _jsonl(path: Path, wanted: Sequence[str]) -> Columns:
    columns: Columns = {name: [] for name in wanted}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
                raise UserError(f"{path}:{number}: not a JSON object on one line ({error})") from error
            if not isinstance(row, dict):
                raise UserError(f"{path}:{number}: expected a JSON object, found {type(row).__name__}")
            for name in wanted:
                if name not in row:
                    raise UserError(f"{path}:{number}: no field '{name}'{nearest(name, row)}")
                columns[name].append(row[name])
    return columns


def _parquet(path: Path, wanted: Sequence[str]) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check(str(path), wanted, file.schema_arrow.names)
            table = file.read(columns=list(wanted))
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from error
    return {name: table.column(name).to_pylist() for name in wanted}


def _saved(path: Path, split: str, wanted: Sequence[str]) -> Columns:
    datasets = _datasets(str(path))
    if not any((path / name).is_file() for name in ("dataset_dict.json", "dataset_info.json", "state.json")):
        raise UserError(f"dataset directory '{path}' holds neither {split}.jsonl, {split}.parquet nor a dataset saved by `datasets`")
    loaded = datasets.load_from_disk(str(path))
    if isinstance(loaded, datasets.DatasetDict):
        if split not in loaded:
            raise UserError(f"dataset '{path}' has no split '{split}'{nearest(split, loaded)}")
        loaded = loaded[split]
    return _columns(str(path), loaded, wanted)


def _hub(name: str, split: str, subset: str | None, wanted: Sequence[str]) -> Columns:
    datasets = _datasets(name)
    try:
        loaded = datasets.load_dataset(name, subset, split=split)
    except (OSError, ValueError, RuntimeError) as error:  # ConnectionError, DatasetNotFoundError, unknown split or subset, offline
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(
            f"dataset '{name}' (split {split}) is not a local file and cannot be loaded from the Hugging Face hub: {reason}; "
            "a file of your own ends in .jsonl or .parquet"
        ) from error
    return _columns(name, loaded, wanted)


def _columns(name: str, loaded: Any, wanted: Sequence[str]) -> Columns:
    _check(name, wanted, loaded.column_names)
    return {field: list(loaded[field]) for field in wanted}


def _check(where: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    for name in wanted:
        if name not in there:
            raise UserError(f"{where}: no field '{name}'{nearest(name, there)}")


def _datasets(name: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"dataset '{name}' is not a JSONL or Parquet file, and others need: pip install 'selfevo[tasks]'") from error
    datasets.disable_progress_bars()
    return datasets
