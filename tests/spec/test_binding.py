"""Binding plain values to constructor annotations: what is accepted, what it becomes, and the exact words of each refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from selfevo.errors import UserError
from selfevo.protocols import Number, Sampling, Strategy, TaskSource, Varying
from selfevo.spec.bind import BAD, Binder
from selfevo.spec.problems import Notes, Problem, Use
from selfevo.spec.refs import PolicyRef, Ref


@dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0

    def __post_init__(self) -> None:
        if self.x < 0:
            raise UserError(f"x must be 0 or more, not {self.x}")


class Shape:
    def __init__(self, corners: Sequence[Point], label: str = "", weight: Number = 1.0, from_: str | None = None):
        self.corners, self.label, self.weight, self.from_ = corners, label, weight, from_


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This module under its own name, as a user's package would be."""
    import sys
    import types

    module = types.ModuleType("shapes")
    module.Shape, module.Point, module.make = Shape, Point, lambda size: Point(float(size))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shapes", module)
    from selfevo.spec.signatures import locate

    locate.cache_clear()


def bound(value: Any, hint: Any) -> tuple[Any, list[Problem], list[Use]]:
    notes = Notes()
    return Binder(notes).bind(value, hint, "a.b"), notes.problems, notes.uses


def refusal(value: Any, hint: Any) -> str:
    made, problems, _ = bound(value, hint)
    assert made is BAD
    assert len(problems) == 1
    return f"{problems[0].path}: {problems[0].message}"


@pytest.mark.parametrize("value, hint, expected", [
    (3, int, 3), (3, float, 3.0), (0, float, 0.0), ("x", str, "x"), (True, bool, True), (None, int | None, None),
    ([1, 2], Sequence[int], (1, 2)), ([1, 2], list[float], [1.0, 2.0]), ([1, 2], tuple[float, ...], (1.0, 2.0)),
    ([0.9, 1], tuple[float, float], (0.9, 1.0)), ({"a": 1}, Mapping[str, float], {"a": 1.0}), ("b", Literal["a", "b"], "b"),
    ("runs", Path, Path("runs")), ("one", str | Sequence[str], "one"), (["one"], str | Sequence[str], ("one",)),
    ({"x": 1}, Point, Point(1.0)), ({"max_tokens": 8}, Sampling, Sampling(8)), (2, Number, 2.0), ({"a": [1]}, Any, {"a": [1]}),
])
def test_values_become_what_the_annotation_says(value: Any, hint: Any, expected: Any) -> None:
    made, problems, _ = bound(value, hint)
    assert not problems
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize("value, hint, line", [
    (1.5, int, "a.b: expected a whole number, got 1.5"),
    (True, int, "a.b: expected a whole number, got true"),
    ("1e-4", float, "a.b: expected a number, got '1e-4'"),
    (7, str, "a.b: expected text, got 7"),
    (None, int, "a.b: expected a whole number, got null"),
    ("yes", bool, "a.b: expected true or false, got 'yes'"),
    ("abc", Sequence[str], "a.b: expected a list of text, got 'abc'"),
    ([1], Mapping[str, int], "a.b: expected a mapping of a whole number, got [1]"),
    ([1, 2, 3], tuple[float, float], "a.b: expected a list of 2 values, got [1, 2, 3]"),
    ([1, "x"], Sequence[int], "a.b.1: expected a whole number, got 'x'"),
    ("smaple", Literal["sample", "population"], "a.b: unknown value 'smaple'; did you mean 'sample'? (valid: population, sample)"),
    ({"x": 1, "z": 2}, Point, "a.b.z: unknown key (valid: x, y)"),
    ({"y": 1}, Point, "a.b.x: required, but not given (expected a number)"),
    ({"x": -1}, Point, "a.b: x must be 0 or more, not -1.0"),
    ("Single", Strategy, "a.b: expected a Strategy (a mapping with _target_), got 'Single'"),
    ("x", int | None, "a.b: expected a whole number or null, got 'x'"),
    ([1], Number, "a.b: expected a number (or one that varies: {linear: [a, b]}, {cosine: [a, b]}, {metric: name}), got [1]"),
])
def test_what_does_not_fit_is_refused_in_one_line(value: Any, hint: Any, line: str) -> None:
    assert refusal(value, hint) == line


def test_a_component_is_built_from_its_target_with_nested_records_and_keywords_that_python_reserves() -> None:
    node = {"_target_": "shapes.Shape", "corners": [{"x": 1}, {"x": 2, "y": 3}], "from": "here"}
    made, problems, _ = bound(node, Any)
    assert not problems
    assert made.corners == (Point(1.0), Point(2.0, 3.0))
    assert made.from_ == "here"


def test_every_mistake_of_a_tree_is_collected_with_its_path() -> None:
    node = {"_target_": "shapes.Shape", "corners": [{"x": "one"}, {"z": 2}], "lable": "t"}
    _, problems, _ = bound(node, Any)
    assert [f"{p.path}: {p.message}" for p in problems] == [
        "a.b.corners.0.x: expected a number, got 'one'",
        "a.b.corners.1.z: unknown key (valid: x, y)",
        "a.b.corners.1.x: required, but not given (expected a number)",
        "a.b.lable: unknown key; did you mean 'label'? (valid: corners, from, label, weight)",
    ]


@pytest.mark.parametrize("target, line", [
    ("shapes.Shap", "a.b._target_: 'shapes' has no 'Shap'; did you mean 'Shape'? (valid: Point, Shape)"),
    ("selfevo.rollouts.Singel", "a.b._target_: 'selfevo.rollouts' has no 'Singel'; did you mean 'Single'?"),
    ("selfevo.rolouts.Single", "a.b._target_: 'selfevo' has no module 'rolouts'; did you mean 'rollouts'?"),
    ("nowhere.Thing", "a.b._target_: 'nowhere.Thing': no package 'nowhere' is installed; install it, or name its folder in PYTHONPATH"),
    ("Single", "a.b._target_: 'Single' is no import path (expected package.module.Class)"),
    ("selfevo.errors.EXIT_USER", "a.b._target_: 'selfevo.errors.EXIT_USER' is a int, not a class or a factory"),
])
def test_an_unknown_target_names_the_nearest_one(target: str, line: str) -> None:
    assert refusal({"_target_": target}, Any).startswith(line)


def test_a_component_of_the_wrong_kind_is_refused_by_the_methods_it_lacks() -> None:
    line = refusal({"_target_": "selfevo.rollouts.Single"}, TaskSource)
    assert line.startswith("a.b._target_: expected a TaskSource (a mapping with _target_), but Single has no ")
    assert "draw" in line


def test_a_factory_function_is_a_component_too() -> None:
    assert bound({"_target_": "shapes.make", "size": 4}, Point)[0] == Point(4.0)


def test_null_takes_an_entry_out_of_a_mapping_of_components() -> None:
    made, problems, _ = bound({"kept": {"x": 1}, "dropped": None}, Mapping[str, Point])
    assert not problems
    assert made == {"kept": Point(1.0)}


def test_null_stays_where_null_is_a_value() -> None:
    assert bound({"a": None}, Mapping[str, int | None])[0] == {"a": None}


@pytest.mark.parametrize("node, expected", [
    ({"linear": [0, 0.1]}, Varying("linear", (0.0, 0.1), name="a.b")),
    ({"cosine": [1, 0], "over": 5}, Varying("cosine", (1.0, 0.0), over=5, name="a.b")),
    ({"metric": "train/kl", "default": 0}, Varying("metric", metric="train/kl", default=0.0, name="a.b")),
    ({"each": "coef"}, Varying("each", name="coef")),
])
def test_numbers_may_vary(node: dict[str, Any], expected: Varying) -> None:
    assert bound(node, Number)[0] == expected
    assert bound(node, Number | None)[0] == expected


@pytest.mark.parametrize("node, line", [
    ({"linaer": [0, 1]}, "a.b.linaer: unknown key; did you mean 'linear'? (valid: cosine, default, each, linear, metric, over)"),
    ({"linear": [0]}, "a.b.linear: expected a list of two numbers or more, got [0]"),
    ({"linear": [0, 1], "over": 0}, "a.b.over: expected a number of iterations (1 or more), got 0"),
    ({"metric": "x", "over": 3}, "a.b.over: unknown key (valid: default, metric)"),
    ({"over": 3}, "a.b: expected a number or one of linear, cosine, metric, each, got {over: 3}"),
])
def test_a_schedule_with_a_mistake_is_refused(node: dict[str, Any], line: str) -> None:
    assert refusal(node, Number) == line


def test_annotated_references_are_collected_for_lookup() -> None:
    assert bound("judge@base", PolicyRef)[2] == [Use("policy", "judge@base", "a.b")]
    assert bound(["x", "y"], Annotated[Sequence[str], Ref("table")])[2] == [Use("table", "x", "a.b"), Use("table", "y", "a.b")]


def test_the_policy_behind_a_terms_needs_is_looked_up() -> None:
    _, problems, uses = bound({"_target_": "selfevo.objectives.KL", "to": "teacher@base"}, Any)
    assert not problems
    assert Use("policy", "teacher@base", "a.b") in uses


def test_a_check_without_construction_still_holds_keys_against_constructors() -> None:
    notes = Notes()
    Binder(notes, construct=False).bind({"_target_": "shapes.Shape", "corners": [{"x": -1, "q": 0}]}, Any, "s")
    assert [p.message for p in notes.problems] == ["unknown key (valid: x, y)"]
