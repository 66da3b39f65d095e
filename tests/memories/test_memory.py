"""Memory: immutable versions, aliases, folders, differences, exact restoration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfevo.errors import UserError
from selfevo.memories import Memories, Memory, Text, files

names = st.sampled_from(["a.md", "b.md", "skills/c.md", "skills/deep/d.txt"])
texts = st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"]), max_size=30))


def test_making_a_version_moves_no_alias_and_promoting_moves_one():
    memory = Memory("skills", {"a.md": "one"})
    made = memory.add({"a.md": "two"}, made_by="main.0/propose")
    assert (made.ref, made.parents, made.kind, made.made_by) == ("skills@000001", ("000000",), "text", "main.0/propose")
    assert memory.files == {"a.md": "one"} and memory.at("000001") == {"a.md": "two"}
    memory.promote(made.id, "best")
    assert memory.version.id == "000000" and memory.at("skills@best") == {"a.md": "two"}
    memory.promote("best")
    assert memory.files == {"a.md": "two"} and memory.at("base") == memory.at("start") == {"a.md": "one"}


def test_versions_are_a_dag_with_every_ancestor_once():
    memory = Memory("m", {})
    memory.add({"a": "1"}, ("000000",))
    memory.add({"b": "1"}, ("000000",))
    memory.add({"a": "1", "b": "1"}, ("000001", "000002"))
    assert [v.id for v in memory.ancestors("000003")] == ["000003", "000002", "000001", "000000"]
    assert [v.id for v in memory.ancestors("000001")] == ["000001", "000000"]


def test_what_is_given_or_taken_cannot_change_a_version():
    given = {"a.md": "one"}
    memory = Memory("m", given)
    given["a.md"] = "changed"
    memory.at()["a.md"] = "changed"  # type: ignore[index]
    assert memory.files == {"a.md": "one"}


def test_a_fork_leaves_no_trace():
    memory = Memory("m", {"a.md": "one"})
    before = memory.state_dict()
    copy = memory.fork()
    copy.promote(copy.add({"a.md": "two"}).id)
    assert memory.state_dict() == before and copy.files == {"a.md": "two"}


@given(texts)
def test_a_folder_gives_back_the_same_files_and_digest(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("memory")
    files.write(content, folder)
    assert files.read(folder) == content and files.digest(files.read(folder)) == files.digest(content)


def test_line_endings_survive_a_folder_byte_for_byte(tmp_path):
    files.write({"a.txt": "x\r\ny\rz\n"}, tmp_path)
    assert (tmp_path / "a.txt").read_bytes() == b"x\r\ny\rz\n" and files.read(tmp_path) == {"a.txt": "x\r\ny\rz\n"}


@given(texts, texts)
def test_applying_a_difference_gives_the_other_version(before, after):
    changes = files.diff(before, after)
    assert files.apply(before, changes) == after
    assert (changes == []) == (before == after) == (files.digest(before) == files.digest(after))


def test_a_difference_names_files_added_removed_and_modified():
    changes = files.diff({"a": "1\n2", "b": "x"}, {"a": "1\n3", "c": "y"})
    assert [(c.file, c.kind) for c in changes] == [("a", "modified"), ("b", "removed"), ("c", "added")]
    assert changes[0].patch.splitlines()[-2:] == ["-2", "+3"]
    with pytest.raises(ValueError, match="does not fit"):
        files.apply({"a": "other"}, changes[:1])


def test_a_saved_state_restores_versions_aliases_and_texts(tmp_path):
    memory = Memory("skills", {"a.md": "one"})
    memory.promote(memory.add({"a.md": "two"}, info={"from": "t1"}).id, "best")
    for version in memory.versions:
        files.write(memory.at(version.id), tmp_path / version.id)
    restored = Memory.restore(memory.state_dict(), lambda i: files.read(tmp_path / i))
    assert restored.state_dict() == memory.state_dict() and restored.versions == memory.versions
    assert restored.at("best") == {"a.md": "two"}
    (tmp_path / "000001" / "a.md").write_text("tampered")
    with pytest.raises(ValueError, match="version 000001 are not the ones that were saved"):
        Memory.restore(memory.state_dict(), lambda i: files.read(tmp_path / i))


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "good.md").write_text("ok")
    (tmp_path / "bad.md").write_bytes(b"ok\xff")
    with pytest.raises(UserError, match=r"bad.md' is not UTF-8 \(byte 2\)"):
        files.read(tmp_path)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", "a//b", "a\\b", "./a"])
def test_a_file_name_that_would_leave_the_folder_is_refused(name):
    with pytest.raises(UserError, match="not a valid file name"):
        Memory("m", {name: ""})


def test_a_file_cannot_be_a_folder_too_and_text_must_be_utf8():
    with pytest.raises(UserError, match="'a' cannot be both a file and the folder of 'a/b'"):
        Memory("m", {"a": "", "a/b": ""})
    with pytest.raises(UserError, match="cannot be written as UTF-8"):
        Memory("m", {"a": "\ud800"})


def test_unknown_versions_and_memories_name_the_nearest():
    memories = Memories({"skills": Memory("skills", {"a.md": "one"})})
    assert memories.at("skills") == {"a.md": "one"} and memories.resolve("skills@base").id == "000000"
    with pytest.raises(UserError, match="no version 'curent'; did you mean 'current'"):
        memories.at("skills@curent")
    with pytest.raises(UserError, match="no memory 'skill'; did you mean 'skills'"):
        memories.at("skill@current")
    with pytest.raises(UserError, match="cannot be an alias"):
        memories["skills"].promote("current", "000007")


def test_a_memory_starts_from_texts_or_a_folder_but_not_both(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("one")
    (tmp_path / "notes" / ".hidden").write_bytes(b"\xff")
    assert Text(path=str(tmp_path / "notes")).load("m").files == Text(files={"a.md": "one"}).load("m").files == {"a.md": "one"}
    assert Text().load("m").files == {}
    with pytest.raises(UserError, match="not both"):
        Text(files={}, path="x")
    with pytest.raises(UserError, match="did you mean 'notes'"):
        Text(path=str(tmp_path / "note")).load("m")
