"""Blocks, paths and references mean what docs say."""

import pytest

from selfevo.errors import UserError
from selfevo.loop import Block, Until, parse, segment
from selfevo.records import Version
from selfevo.references import Derived, TableRef
from selfevo.versions import Lineages

STAGES = ["rollout", "score", "train", "evaluate"]


def errors_of(loop):
    return parse(loop, STAGES, ["solver"])[1]


ALL = {"do": ["rollout", "score", "train", "evaluate"]}


def test_nested_blocks_parse_with_their_stages_in_order():
    root, errors = parse(
        {
            "main": {
                "repeat": 3,
                "do": {
                    "fill": {"until": {"rows": "fill/score", "at_least": 4}, "max": 2, "do": ["rollout", "score"]},
                    "train": None,
                    "evaluate": None,
                },
            }
        },
        STAGES,
    )
    assert errors == []
    assert list(root.stages()) == STAGES
    main = root.do[0]
    assert isinstance(main, Block) and main.limit == 3 and segment(main, 2) == "main.2"


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        ({"main": {**ALL, "repaet": 3}}, "loop.main.repaet: unknown key; did you mean 'repeat'?"),
        ({"main": {"do": ["rollout", "score", "train", "evaluat"]}}, "loop.main.do: no stage is named 'evaluat'; did you mean 'evaluate'?"),
        ({"main": {**ALL, "until": {"metric": "x", "at_least": 1}}}, "loop.main: until needs `max`"),
        ({"main": {**ALL, "repeat": 2, "each": [1]}}, "loop.main: a block has one of repeat, until and each"),
        ({"main": {**ALL, "fork": "sovler"}}, "loop.main.fork: 'sovler' is neither a policy nor a memory; did you mean 'solver'?"),
        ({"main": {"do": ["rollout", "score", "train"]}}, "stages.evaluate: no block of the loop runs this stage"),
        ({"main": {**ALL, "repeat": -1}}, "loop.main.repeat: expected a whole number"),
        ({"score": ALL}, "loop.score: a block needs a name of its own"),
        ({"main": {**ALL, "until": {"metric": "x"}, "max": 2}}, "loop.main.until: give `at_least` or `at_most`"),
    ],
)
def test_a_mistake_in_the_loop_is_one_line_with_its_place(loop, message):
    assert any(line.startswith(message) for line in errors_of(loop)), errors_of(loop)


def test_all_mistakes_are_reported_at_once():
    assert len(errors_of({"main": {"do": ["rolout", "scor"], "evry": 2}})) >= 3


PATHS = ["main.0/fill.0", "main.0/fill.1", "main.1/fill.0", "main.1/fill.1", "main.1/fill.2"]


@pytest.mark.parametrize(
    ("ref", "here", "picked"),
    [
        ("score", "main.1", [4]),
        ("fill/score", "main.1", [2, 3, 4]),
        ("score@0", "main.1/fill.2", [4]),
        ("score@-1", "main.1/fill.2", [3]),
        ("score@-2..0", "main.1/fill.2", [2, 3, 4]),
        ("score@-1", "main.1", [0, 1]),
        ("score@-9", "main.1", []),
    ],
)
def test_a_reference_picks_the_executions_it_names(ref, here, picked):
    assert TableRef.parse(ref).pick(PATHS, here) == picked


def test_a_reference_before_any_execution_is_empty():
    assert TableRef.parse("score").pick([], "main.0") == []


@pytest.mark.parametrize("text", ["", "a b", "score@", "score@-1..-4", "score@-1..2", "a/b/c", None])
def test_text_that_is_no_reference_is_refused(text):
    with pytest.raises(UserError):
        TableRef.parse(text, "from")


def test_until_reads_bounds_inclusively():
    assert Until(metric="m", at_least=0.5).met(0.5) and not Until(metric="m", at_least=0.5).met(0.4)
    assert Until(metric="m", at_most=0.5).met(0.5) and not Until(metric="m", at_most=0.5).met(0.6)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"folow": "score"}, "tasks.folow: unknown key; did you mean 'follow'?"),
        ({"where": {"exact": 0}}, "give one of follow, continue"),
        ({"continue": "score"}, "`continue` needs `prompt`"),
        ({"follow": "score", "where": {"exact": {"atleast": 1}}}, "tasks.where.exact.atleast: unknown test; did you mean 'at_least'?"),
    ],
)
def test_a_mistake_in_derived_tasks_is_one_line(node, message):
    with pytest.raises(UserError) as error:
        Derived.parse(node)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_versions_form_a_dag_and_aliases_move_only_by_promotion():
    book = Lineages()
    book.start(Version("skills", "000000"))
    book.add(Version("skills", "000001", ("000000",)), stage="edit")
    book.add(Version("skills", "000002", ("000000", "000001")), stage="merge")
    assert book.resolve("skills").id == "000000" and book.resolve("skills", "edit").id == "000001"
    book.promote("skills", "current", "000002")
    assert book.resolve("skills").id == "000002" and book.resolve("skills", "base").id == "000000"
    assert book.ancestors(book.resolve("skills")) == ["000000", "000001"]
    with pytest.raises(UserError, match="cannot be moved"):
        book.promote("skills", "base", "000001")
    with pytest.raises(UserError, match="did you mean 'merge'"):
        book.resolve("skills", "mergee")
    with pytest.raises(ValueError, match="unknown parent"):
        book.add(Version("skills", "000003", ("000009",)))
