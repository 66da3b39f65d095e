"""Scalars and numpy's arrays of Arrow's, without `pa.scalar` and `to_numpy`: those import pandas (half a second) if it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .arrays import array

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def scalar(value: str | float | None, kind: pa.DataType) -> pa.Scalar:
    """One text or number."""
    return array([value], kind)[0]


def coded(texts: pa.Array) -> tuple[list[str], np.ndarray[Any, Any]]:
    """The different texts, and for each its place among them; null has the place behind the last."""
    found = texts.dictionary_encode()
    known, at = found.dictionary.to_pylist(), found.indices
    return known, plain(at.fill_null(scalar(len(known), at.type)) if at.null_count else at)


def plain(values: pa.Array) -> np.ndarray[Any, Any]:
    """Numbers or truths of which none is null, read-only: numbers as they lie, truths a byte each."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_boolean(values.type):
        return np.from_dlpack(values.cast(pa.int8())).view(np.bool_)
    return np.from_dlpack(values)
