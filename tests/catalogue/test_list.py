"""selfevo list: which experiments there are, filtered by text and by component, at every width."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from selfevo import cli
from selfevo.catalogue.entries import results


def listed(*words: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    assert cli.main(["list", *words, "--json"]) == 0
    return {e["id"]: e for e in json.loads(capsys.readouterr().out)}


def at(columns: int, *words: str) -> list[str]:
    """What a terminal of so many columns shows."""
    main, other = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    child = subprocess.Popen([sys.executable, "-m", "selfevo", "list", *words], stdout=other, env={**os.environ, "TERM": "xterm"})
    os.close(other)
    said = b""
    try:
        while block := os.read(main, 65536):
            said += block
    except OSError:  # the other end is closed
        pass
    assert child.wait() == 0
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in said.decode().splitlines()]


def test_every_experiment_is_listed_with_its_paper_choices_and_recorded_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    from selfevo.catalogue.files import Tree

    found = listed(capsys=capsys)
    assert sorted(found) == Tree().choices("experiment")
    assert found["sec"]["paper"]["arxiv"] == "2505.14970"  # type: ignore[index]
    assert found["sec"]["choices"]["curriculum"] == "boltzmann"  # type: ignore[index]
    for name, result in results().items():
        assert found[name]["verdict"] == result["effect"]["verdict"]
        assert found[name]["tiny_seconds"] > 0  # type: ignore[operator]


def test_a_component_filters_by_choice_and_by_the_name_in_its_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    by_choice, by_name = listed("curriculum=boltzmann", capsys=capsys), listed("curriculum=sec", capsys=capsys)
    assert set(by_choice) == set(by_name) == {"sec", "tiny/sec"}
    grpo = listed("optimizer=grpo", capsys=capsys)
    assert "quickstart" in grpo and "nft" not in grpo
    assert set(listed("optimizer=grpo", "tiny", capsys=capsys)) < set(grpo)


@pytest.mark.parametrize("words, line", [
    (["curriculum=boltzman"], "selfevo: curriculum: no choice 'boltzman'; did you mean 'boltzmann'?"),
    (["curiculum=sec"], "selfevo: no config group 'curiculum'; did you mean 'curriculum'?"),
    (["curriculum=by_level"], "selfevo: no experiment uses curriculum=by_level"),
    (["--jsn"], "selfevo: unknown option '--jsn'; did you mean '--json'?"),
])
def test_what_matches_nothing_names_the_nearest(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", *words]) == 2
    assert capsys.readouterr().err.startswith(line)


def test_piped_it_is_a_line_each_without_control_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not any("\x1b" in line for line in lines)
    assert len({line.split()[0] for line in lines}) == len(lines) > 30
    assert not [line for line in lines if line.startswith("tiny/")]


@pytest.mark.parametrize("columns", [80, 200])
def test_at_a_terminal_no_line_is_wider_than_it_and_no_id_is_cut(columns: int) -> None:
    lines = at(columns)
    assert max(len(line.rstrip()) for line in lines) <= columns
    assert {"sec", "self_correct_decompose", "qwen3_4b/grpo"} <= {line.split()[0] for line in lines if line.strip()}
