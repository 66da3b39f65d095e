"""Records made in half the time: what `quick` must leave as it was, and ids and texts beside their plain definitions."""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfevo.quick import quick
from selfevo.records import Task, Trajectory, Turn, digest


class Marked:
    """What both records do once they are made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        if self.a < 0:
            object.__setattr__(self, "b", "negative")


@dataclass(frozen=True, slots=True)
class Plain(Marked):
    a: int
    b: str = "b"
    c: list[int] = field(default_factory=list)


@quick
@dataclass(frozen=True, slots=True)
class Quick(Marked):
    a: int
    b: str = "b"
    c: list[int] = field(default_factory=list)


@pytest.mark.parametrize(("given_", "named"), [((1,), {}), ((-1, "x"), {}), ((1, "x", [2]), {}), ((), {"a": 1, "c": [3]})])
def test_a_quick_record_holds_what_a_plain_one_holds(given_, named):
    one, other = Plain(*given_, **named), Quick(*given_, **named)
    assert (one.a, one.b, one.c) == (other.a, other.b, other.c)
    assert other == Quick(*given_, **named) and pickle.loads(pickle.dumps(other)) == other
    assert replace(other, a=7) == Quick(7, other.b, other.c)


def test_it_stays_frozen_with_a_fresh_default_each_and_the_same_arguments():
    assert Quick(1).c is not Quick(1).c
    with pytest.raises(FrozenInstanceError):
        Quick(1).a = 2
    for wrong in ((), (1, "b", [], 4)):
        with pytest.raises(TypeError):
            Quick(*wrong)
    assert list(inspect.signature(Quick).parameters) == list(inspect.signature(Plain).parameters)
    assert Quick.__init__.__annotations__ == Plain.__init__.__annotations__


def test_a_field_that_is_no_plain_argument_is_refused():
    @dataclass(frozen=True, slots=True)
    class Named:
        a: int = field(kw_only=True)

    with pytest.raises(TypeError, match=r"Named\.a"):
        quick(Named)


texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_a_digest_is_that_of_canonical_json(value):
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert digest(value, 64) == hashlib.sha256(text.encode()).hexdigest()


def test_a_digest_of_no_json_is_refused_and_leaves_nothing_behind():
    before = digest(["a", 1])
    for wrong, error in ((float("nan"), ValueError), (object(), TypeError), ([{"a": {1, 2}}], TypeError)):
        with pytest.raises(error):
            digest(wrong)
    assert digest(["a", 1]) == before


def test_the_id_of_a_task_is_the_same_on_every_machine():
    assert Task({"question": "1+1 = ?"}, "2", "sum").id == "5b60759da89c7139"


@given(st.lists(st.tuples(st.sampled_from(["policy", "tool", "data", "teacher", "env"]), st.sampled_from(["a", "b", "c"])), max_size=6))
def test_the_judged_text_is_the_last_reply_with_the_pieces_right_before_it(pieces):
    turns = tuple(Turn(source, text) for source, text in pieces)
    sources = "".join(source[0] for source, _ in pieces)
    text = Trajectory("t", Task({"q": "?"}, id="x"), "r", "p@0", turns, "e").text
    if "p" in sources:
        end = sources.rindex("p") + 1
        start = len(sources[:end].rstrip("p"))
        assert text == "".join(x for _, x in pieces[start:end])
    else:
        given_ = [x for source, x in pieces if source in ("data", "teacher")]
        assert text == (given_[-1] if given_ else "")
