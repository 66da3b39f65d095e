"""FromRows: which rows are used, where their text goes, what is refused."""

from __future__ import annotations

import pytest

from selfevo.errors import UserError
from selfevo.memories import FromRows, Memory


@pytest.fixture
def memory() -> Memory:
    return Memory("skills", {"a.md": "carry the one\n", "b.md": "keep"})


def test_the_best_row_replaces_the_file_and_promotes_nothing(ctx, memory, said):
    rows = [said("bad", 0.1, 0), said("  good\n", 0.9, 1), said("also good", 0.9, 2), said("unjudged", None, 3)]
    made = FromRows("a.md", reward="score").update(memory, rows, ctx)
    assert memory.at(made.id) == {"a.md": "good\n", "b.md": "keep"} and memory.version.id == "000000"
    assert (made.parents, made.info["from"], made.made_by) == (("000000",), "t1", "main.0")


def test_append_adds_paragraphs_once_each_up_to_take(ctx, memory, said):
    rows = [said("carry the one", n=0), said("borrow", n=1), said("borrow", n=2), said("check", n=3), said("more", n=4)]
    made = FromRows("a.md", mode="append", take=2).update(memory, rows, ctx)
    assert memory.at(made.id)["a.md"] == "carry the one\n\nborrow\n\ncheck\n"
    assert (ctx.metrics["propose/used"], ctx.metrics["propose/unused"]) == (2, 2)
    memory.promote(made.id)
    assert FromRows("a.md", mode="append").update(memory, [said("borrow\n\ncheck")], ctx) is None


def test_a_pattern_cuts_out_the_text_and_may_name_the_file(ctx, memory, said):
    row = said("I propose\nFILE skills/c.md\n<<always\ncheck>>\nbye")
    made = FromRows("a.md", pattern=r"FILE (?P<file>\S+)\n<<(?P<text>.*?)>>").update(memory, [said("no", n=1), row], ctx)
    assert memory.at(made.id)["skills/c.md"] == "always\ncheck\n" and memory.at(made.id)["a.md"] == "carry the one\n"
    made = FromRows("a.md", pattern=r"<<(.*?)>>").update(memory, [row], ctx)
    assert memory.at(made.id)["a.md"] == "always\ncheck\n"


def test_a_file_name_from_the_model_cannot_leave_the_memory(ctx, memory, said):
    pattern = r"FILE (?P<file>\S+) (?P<text>.*)"
    assert FromRows("a.md", pattern=pattern).update(memory, [said("FILE ../../x evil")], ctx) is None
    assert ctx.metrics["propose/unused"] == 1 and len(memory.versions) == 1


def test_no_change_is_no_version(ctx, memory, said):
    assert FromRows("a.md").update(memory, [], ctx) is None
    assert FromRows("a.md").update(memory, [said("  ")], ctx) is None
    assert FromRows("a.md").update(memory, [said("carry the one")], ctx) is None
    assert FromRows("a.md", reward="score", at_least=0.5).update(memory, [said("x", 0.4)], ctx) is None
    assert FromRows("a.md", mode="append", max_chars=20).update(memory, [said("too long to fit")], ctx) is None
    assert FromRows("a.md").update(memory, [said("broken", status="error")], ctx) is None
    assert len(memory.versions) == 1


@pytest.mark.parametrize("settings, words", [
    ({"mode": "insert"}, "'replace' or 'append'"), ({"take": 0}, "at least 1"), ({"take": 2}, "one row per file"),
    ({"at_least": 0.5}, "needs the reward"), ({"pattern": "("}, "not a regular expression"), ({"file": "../a"}, "not a valid file name"),
])  # fmt: skip
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        FromRows(**{"file": "a.md", **settings})
