"""Every command at real terminals of 80 and 200 columns, without colour, and piped: nothing is too wide, and what matters is there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from as_user import BARE, ENVIRONMENT

from selfevo.cli import COMMANDS

pytestmark = pytest.mark.slow
WIDTHS = (80, 200)
CODES = re.compile(rb"\x1b\[([0-9;?]*)([@-~])|\x1b\][^\x07]*\x07")
MOVES = [bytes([letter]) for letter in b"ABCDEFGHJKf"]
"""Endings of codes that move the cursor or clear lines."""
QUICK = [*BARE, "scale.iterations=1", "scale.tasks=1", "scale.group=2", "scale.eval_tasks=4", "scale.eval_samples=1"]

Said = tuple[int, bytes]


def at_terminal(arguments: list[str], width: int, cwd: Path, **environment: str) -> Said:
    """Exit status and every byte that a command wrote at a terminal of so many columns."""
    env = {k: v for k, v in ENVIRONMENT.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    env |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", **environment}
    process, terminal = pty.fork()
    if process == 0:  # the child: a size first, then the command
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        os.chdir(cwd)
        os.execve(sys.executable, [sys.executable, "-m", "selfevo", *arguments], env)
    data = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the process has gone
            break
        if not part:
            break
        data += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), data


def lines(data: bytes) -> list[str]:
    """Everything that stood there, a text per line: where the cursor is moved to draw over a line, another one begins."""
    parted = CODES.sub(lambda code: b"\n" if code[2] in MOVES else b"", data)
    return re.sub(r"\r+", "\n", parted.decode().replace("\r\n", "\n")).split("\n")


def colours(data: bytes) -> list[str]:
    """Codes that colour text."""
    given = [code for numbers, kind in CODES.findall(data) if kind == b"m" for code in numbers.decode().split(";") if code]
    return [code for code in given if 30 <= int(code) <= 107]


def words(text: str | list[str]) -> str:
    """The text without breaks and frames."""
    return " ".join(" ".join(text if isinstance(text, list) else [text]).split())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep of four runs, two of which failed."""
    folder = tmp_path_factory.mktemp("terminal")
    swept = ["seed=0,1", "roles.solver.top_p=1.0,7.0", "hydra.sweep.dir=multirun/first"]
    call = [sys.executable, "-m", "selfevo", "run", "-m", *QUICK, *swept]
    done = subprocess.run(call, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    return folder


VIEWS: list[tuple[list[str], int, list[str]]] = [
    (["list"], 0, ["nft", "arXiv:2505.18116", "optimizer=nft", "60 s", "not shown"]),
    (["list", "optimizer"], 0, ["dr_grpo", "no division by the group's std"]),
    (["list", "nosuchthing"], 2, ["no experiment or config group matches 'nosuchthing'"]),
    (["show", "nft"], 0, ["The loop", "Against its baseline", "The paper", "Measured here", "selfevo run experiment=tiny/nft"]),
    (["validate", "experiment=quickstart"], 0, ["the spec is sound", "main: ", "answers 16 tasks from curriculum"]),
    (["validate", "optimizer.lrr=1"], 2, ["optimizer.lrr: unknown key; did you mean 'lr'?"]),
    (["plan", "experiment=sec"], 0, ["GiB per GPU", "it fits", "GPU-hours on 8 GPUs"]),
    (["doctor"], 0, ["Python", "selfevo can run here"]),
    (["compare", "multirun/first"], 0, [
        "Runs and the settings that differ", "roles.solver.top_p", "run 1 failed: ", "pass@1", "Cost, evaluation included", "tokens/s",
    ]),
    (["compare", "nowhere"], 2, ["nowhere: no such folder"]),
    (["report", "multirun/first"], 0, ["multirun/first/report.html"]),
    (["reproduce"], 0, ["nft", "not shown", "against rejection fine-tuning (RFT)"]),
    (["reproduce", "nft", "--dry-run"], 0, [
        "nft, seed 0:", "optimizer.objective.nft.neg_weight=0", "hydra.run.dir=outputs/reproduce/nft/method-2",
    ]),
    (["resume", "multirun/first/0"], 0, ["this run is finished, there is nothing to resume"]),
    (["run", *QUICK, "hydra.run.dir=outputs/one"], 0, [
        "done after", "pass@1: ", "directory: outputs/one", "report: outputs/one/report.html",
    ]),
    (["run", "-m", *QUICK, "seed=0,1", "roles.solver.top_p=1.0,7.0", "hydra.sweep.dir=multirun/second"], 2, [
        "Ranking by eval/chain_sum/pass@1, highest first", "place", "2 runs without a place: 2 failed", "Effect of each key",
        "report of the sweep: multirun/second/report.html", "top_p must be in (0, 1], not 7.0",
    ]),
]  # fmt: skip
COLOURED = [view for view in VIEWS if view[0][0] in ("list", "show", "doctor", "compare", "run") and view[1] == 0]


def name(view: tuple[list[str], int, list[str]]) -> str:
    return " ".join(view[0])[:40]


def where(arguments: list[str], place: Path, tmp_path: Path) -> Path:
    return place if any("multirun/first" in argument for argument in arguments) else tmp_path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("view", VIEWS, ids=name)
def test_a_view_fits_its_terminal_and_says_what_matters(
    place: Path, tmp_path: Path, width: int, view: tuple[list[str], int, list[str]]
) -> None:
    arguments, status, shown = view
    code, data = at_terminal(arguments, width, where(arguments, place, tmp_path))
    found = lines(data)
    assert code == status, words(found)
    assert [line for line in found if len(line) > width] == []
    for text in shown:
        assert words(text) in words(found), f"{text!r} is not in:\n" + "\n".join(found)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_fits_eighty_columns(tmp_path: Path, command: str) -> None:
    code, data = at_terminal([command, "--help"] if command else ["--help"], 80, tmp_path)
    found = lines(data)
    assert code == 0 and [line for line in found if len(line) > 80] == []
    assert words(found).startswith(f"usage: selfevo {command or 'COMMAND'}")
    assert command or all(any(line.startswith(f"  {each} ") for line in found) for each in COMMANDS)


@pytest.mark.parametrize("view", COLOURED, ids=name)
def test_without_colour_there_is_none(place: Path, tmp_path: Path, view: tuple[list[str], int, list[str]]) -> None:
    code, data = at_terminal(view[0], 80, where(view[0], place, tmp_path), NO_COLOR="1")
    assert code == view[1] and colours(data) == []


@pytest.mark.parametrize("view", VIEWS, ids=name)
def test_piped_output_has_no_codes(place: Path, tmp_path: Path, view: tuple[list[str], int, list[str]]) -> None:
    arguments, status, shown = view
    call = [sys.executable, "-m", "selfevo", *arguments]
    done = subprocess.run(call, cwd=where(arguments, place, tmp_path), env=ENVIRONMENT, capture_output=True, check=False)
    assert done.returncode == status and b"\x1b" not in done.stdout + done.stderr and b"\r" not in done.stdout
    said = words((done.stdout + done.stderr).decode())
    for text in shown:
        assert words(text) in said


def test_a_wide_terminal_is_used_and_a_narrow_one_loses_nothing(tmp_path: Path) -> None:
    narrow, wide = (lines(at_terminal(["list"], width, tmp_path)[1]) for width in WIDTHS)
    assert len(wide) < len(narrow) and max(map(len, wide)) > 150
    heads = {"paper", "uses"}  # of columns that the narrow one puts below the others
    assert set(words(narrow).split()) - heads == set(words(wide).split()) - heads



def test_the_live_panel_is_no_wider_than_can_be_read(tmp_path: Path) -> None:
    code, data = at_terminal(["run", *QUICK, "hydra.run.dir=one"], 200, tmp_path)
    panel = [line for line in lines(data) if line.startswith("│")]
    assert code == 0 and panel and max(map(len, panel)) <= 110
