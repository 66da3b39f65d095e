"""Python values to Arrow arrays of nested types, column by column: each leaf of all records becomes one flat list and one buffer.

The buffers are laid out here, in Arrow's columnar format, rather than by `pyarrow.array`: that looks at every value to infer what the
schema already says, and imports pandas, wherever it is installed, to ask whether a list is a series.
"""

from __future__ import annotations

from array import array as numbers
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, repeat
from operator import attrgetter, is_not
from typing import TYPE_CHECKING, Any

from ..records import Cost, Score, Step, Turn

if TYPE_CHECKING:
    import pyarrow as pa

CODES = {"int32": "i", "int64": "q", "double": "d"}
"""Arrow's types of numbers, and the codes by which the standard library's `array` knows them."""

_EMPTY: dict[str, Turn | Step | Cost | Score] = {"subject": Score("")}
"""What stands in the fields of a null struct, by the name of its first field."""


def array(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    """An Arrow array of a nested type. Mappings become maps; turns, steps, costs and scores become structs; None becomes null.

    Raises TypeError for a value of another type, OverflowError for a number that does not fit.
    """
    import pyarrow as pa

    some = values if isinstance(values, list) else list(values)
    n = len(some)
    if not pa.types.is_nested(kind):
        return _flat(some, kind)
    present = list(map(is_not, some, repeat(None)))
    if n and not any(present):
        return pa.nulls(n, kind)
    mask = None if all(present) else _bits(numbers("b", present))
    if pa.types.is_map(kind):
        held = [x or {} for x in some]
        pairs = [array([k for x in held for k in x], kind.key_type), array([v for x in held for v in x.values()], kind.item_type)]
        entries = pa.Array.from_buffers(pa.struct([kind.key_field, kind.item_field]), len(pairs[0]), [None], children=pairs)
        return pa.Array.from_buffers(kind, n, [mask, _offsets(held)], children=[entries])
    if pa.types.is_list(kind):
        held = [x or () for x in some]
        inner = array(list(chain.from_iterable(held)), kind.value_type)
        return pa.Array.from_buffers(kind, n, [mask, _offsets(held)], children=[inner])
    held = some if mask is None else [_EMPTY[kind.field(0).name] if x is None else x for x in some]
    parts = [array(list(map(attrgetter(f.name), held)), f.type) for f in kind]
    return pa.Array.from_buffers(kind, n, [mask], children=parts)


def _flat(some: list[Any], kind: pa.DataType) -> pa.Array:
    """Texts, truths or numbers, of which most columns hold no None: it is looked for once it was met."""
    import pyarrow as pa

    try:
        return pa.Array.from_buffers(kind, len(some), [None, *_leaf(some, kind)])
    except TypeError:
        if None not in some:
            raise
    blank = "" if pa.types.is_string(kind) else 0
    mask = _bits(numbers("b", map(is_not, some, repeat(None))))
    return pa.Array.from_buffers(kind, len(some), [mask, *_leaf([blank if x is None else x for x in some], kind)])


def _leaf(some: list[Any], kind: pa.DataType) -> list[pa.Buffer]:
    """Buffers of texts, truths or numbers."""
    import pyarrow as pa

    if pa.types.is_string(kind):
        data = "".join(some).encode()
        sizes: Iterable[int] = map(len, some)
        if len(data) != sum(map(len, some)):  # beyond ASCII a character may take up to four bytes
            sizes = [len(text.encode()) for text in some]
        return [pa.py_buffer(numbers("i", accumulate(sizes, initial=0))), pa.py_buffer(data)]
    if pa.types.is_boolean(kind):
        return [_bits(numbers("b", some))]
    return [pa.py_buffer(numbers(CODES[str(kind)], some))]


def _offsets(held: Sequence[Any]) -> pa.Buffer:
    import pyarrow as pa

    return pa.py_buffer(numbers("i", accumulate(map(len, held), initial=0)))


def _bits(flags: numbers[int]) -> pa.Buffer:
    """Eight flags to a byte, the first in the lowest bit."""
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(np.frombuffer(flags, np.int8) != 0, bitorder="little"))
