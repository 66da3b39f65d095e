"""The kernels are compiled once for a machine, and done without where that is impossible."""

import os
import shutil
import subprocess
import sys

import pytest

from selfevo.decoder import building
from selfevo.decoder.building import Absent

BUILD = "from selfevo.decoder import building; building.library('float'); print(building.state()[0])"
build = building._library  # of a process that has none yet


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "selfevo" / "kernels"


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A compiler that keeps count of its calls; the file with a line for each."""
    log, script = tmp_path / "calls", tmp_path / "counting-cc"
    script.write_text(f'#!/bin/sh\necho called >> "{log}"\nexec {shutil.which("cc")} "$@"\n')
    script.chmod(0o700)
    monkeypatch.setenv("CC", str(script))
    return log


def test_what_failed_is_not_tried_again(cache, tmp_path):
    log, script = tmp_path / "calls", tmp_path / "failing-cc"
    script.write_text(f'#!/bin/sh\necho called >> "{log}"\nexit 1\n')
    script.chmod(0o700)
    code = "from selfevo.decoder import building; print(building.state(), building.state())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "CC": str(script)})
    assert log.read_text() == "called\n" and said.stdout.count("failing-cc failed: it said nothing") == 2


def test_a_second_process_compiles_nothing(cache, counted):
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", BUILD], capture_output=True, text=True, check=True).stdout == "True\n"
    assert counted.read_text() == "called\n"
    assert [p.suffix for p in cache.iterdir()] == [".so"]  # and nothing half written
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_other_numbers_another_source_or_another_compiler_is_another_library(cache, counted, monkeypatch, tmp_path):
    build("float")
    build("double")
    changed = tmp_path / "kernels.c"
    changed.write_text(building.SOURCE.read_text() + "\n")
    monkeypatch.setattr(building, "SOURCE", changed)
    build("float")
    assert len(list(cache.iterdir())) == 3
    monkeypatch.delenv("CC")
    build("float")
    assert len(list(cache.iterdir())) == 4 and counted.read_text() == "called\n" * 3


def test_a_cache_that_cannot_be_written_costs_a_compilation(tmp_path, monkeypatch, counted):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder can be made in it
    build("float")
    build("float")
    assert counted.read_text() == "called\n" * 2


@pytest.mark.parametrize("cc, said", [
    ("", "CC is empty"), ("no-such-cc", "no C compiler (no-such-cc)"), ("false", "false failed: it said nothing"),
])  # fmt: skip
def test_without_a_compiler_it_is_said_why(cache, monkeypatch, cc, said):
    monkeypatch.setenv("CC", cc)
    with pytest.raises(Absent) as error:
        build("float")
    assert str(error.value).endswith(said)


def test_a_compiler_may_have_arguments(cache, monkeypatch):
    monkeypatch.setenv("CC", "cc -DREAL_IS_GIVEN -Wall")
    build("float")
    assert building.state() == (True, "compiled by cc -DREAL_IS_GIVEN -Wall")


def test_what_the_compiler_says_last_is_told(cache, monkeypatch, tmp_path):
    wrong = tmp_path / "kernels.c"
    wrong.write_text("void normed(void) { return nothing; }\n")
    monkeypatch.setattr(building, "SOURCE", wrong)
    with pytest.raises(Absent, match="cc failed: "):
        build("float")


@pytest.mark.slow
def test_a_kept_library_that_is_damaged_is_compiled_anew(cache, counted):
    build("float")
    (kept,) = cache.iterdir()
    kept.unlink()  # this process has it in use
    kept.write_bytes(b"\x7fELF")
    build("float")
    assert counted.read_text() == "called\n" * 2 and kept.stat().st_size > 1000
