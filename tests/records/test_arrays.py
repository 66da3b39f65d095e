"""Buffers laid out here hold what `pyarrow.array` makes of the same values."""

import subprocess
import sys
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo.records import Cost
from selfevo.tables.arrays import array

LEAVES = {
    pa.string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
}
KINDS = st.recursive(
    st.sampled_from(list(LEAVES)),
    lambda inner: st.one_of(inner.map(pa.list_), inner.map(lambda kind: pa.map_(pa.string(), kind))),
    max_leaves=3,
)


def values(kind):
    """Values of a type, None among them."""
    if pa.types.is_map(kind):
        some = st.dictionaries(LEAVES[pa.string()], values(kind.item_type), max_size=4)
    elif pa.types.is_list(kind):
        some = st.lists(values(kind.value_type), max_size=4)
    else:
        some = LEAVES[kind]
    return st.none() | some


def as_arrow_takes_it(value, kind):
    if value is not None and pa.types.is_map(kind):
        return [(k, as_arrow_takes_it(v, kind.item_type)) for k, v in value.items()]
    if value is not None and pa.types.is_list(kind):
        return [as_arrow_takes_it(v, kind.value_type) for v in value]
    return value


def bits(tree):
    """The same with floats as text, so that NaN equals itself."""
    return [bits(x) for x in tree] if isinstance(tree, list | tuple) else repr(tree)


@settings(deadline=None)  # the first example imports what Arrow needs
@given(st.data())
def test_every_nesting_of_every_type_is_what_pyarrow_makes_of_it(data):
    kind = data.draw(KINDS)
    some = data.draw(st.lists(values(kind), max_size=12))
    ours = array(some, kind)
    ours.validate(full=True)
    theirs = pa.array([as_arrow_takes_it(x, kind) for x in some], kind)
    assert ours.type == theirs.type and ours.null_count == theirs.null_count
    assert bits(ours.to_pylist()) == bits(theirs.to_pylist())


def test_structs_keep_nulls_apart_from_zeros():
    kind = pa.struct({"calls": pa.int64(), "seconds": pa.float64()})
    # a null cost stands where the fields of its struct must hold something: any record with these fields does
    rows = [Cost(0, 0, 0, 2, 0.5), Cost(0, 0, 0, 0, 0.0)]
    assert array(rows, kind).to_pylist() == [{"calls": 2, "seconds": 0.5}, {"calls": 0, "seconds": 0.0}]
    score = pa.struct({"subject": pa.string(), "step": pa.int32()})
    got = array([SimpleNamespace(subject="a", step=None), None], score)
    got.validate(full=True)
    assert got.to_pylist() == [{"subject": "a", "step": None}, None]


@pytest.mark.parametrize(
    ("value", "kind", "error"),
    [
        ("1", pa.int32(), TypeError), (1.5, pa.int64(), TypeError), (1, pa.string(), TypeError), ("yes", pa.bool_(), TypeError),
        ("1", pa.float64(), TypeError), (2**31, pa.int32(), OverflowError), (2**63, pa.int64(), OverflowError),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(value, kind, error):
    with pytest.raises(error):
        array([value], kind)


def test_making_tables_imports_no_pandas():
    code = (
        "import sys, pyarrow as pa; from selfevo.tables.arrays import array; "
        "array(['a', None], pa.string()); array([{'a': 1.0}, None], pa.map_(pa.string(), pa.float64())); print('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
