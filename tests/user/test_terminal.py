"""The run at a real terminal (a pty), read through a terminal emulator: 80 columns, 24 rows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from as_user import BARE, ENVIRONMENT, waiting

pytestmark = pytest.mark.slow

pyte = pytest.importorskip("pyte", reason="needs a terminal emulator: pip install pyte")
COLUMNS, ROWS = 80, 24


class Terminal:
    """A process of the command line at a terminal of its own; `raw` is every byte it wrote."""

    def __init__(self, *arguments: str, cwd: Path, **environment: str):
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._stream, self.raw, self.status = pyte.ByteStream(self.screen), b"", -1
        env = {k: v for k, v in ENVIRONMENT.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        env |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", **environment}
        self._pid, self._fd = pty.fork()
        if self._pid == 0:  # the child: a size first, then the command
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.chdir(cwd)
            os.execve(sys.executable, [sys.executable, "-m", "selfevo", *arguments], env)

    def lines(self) -> list[str]:
        """What stands on the screen, without blank lines at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    def until(self, seen: Callable[[str], bool]) -> list[str]:
        """Read until the screen shows something and ends with a whole panel (a read may end in the midst of one); returns its lines."""
        end = time.monotonic() + 60
        while not (seen("\n".join(lines := self.lines())) and lines[-1].startswith("╰") and lines[-1].endswith("╯")):
            assert self._read() and time.monotonic() < end, self.lines()
        return self.lines()

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._fd, keys)

    def finish(self) -> list[str]:
        """Read to the end of the process; returns the last screen."""
        while self._read():
            pass
        self.status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        os.close(self._fd)
        return self.lines()

    def _read(self) -> bool:
        if not select.select([self._fd], [], [], 30)[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the process has gone
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)


def panels(lines: list[str]) -> Iterator[list[str]]:
    """Every whole box on a screen; a border without its box fails."""
    box: list[str] = []
    for line in lines:
        assert not (line.startswith("╭") and box), f"a border was left behind: {lines}"
        if line.startswith("╭") or box:
            box.append(line)
        if line.startswith("╰"):
            yield box
            box = []
    assert not box, f"a border was left behind: {lines}"


def run(tmp_path: Path, gate: Path, **environment: str) -> Terminal:
    return Terminal("run", *BARE, "name=first", waiting(gate), "hydra.run.dir=outputs/first/now", cwd=tmp_path, **environment)


LAST = [
    r"done after \d+\.\d s",
    r"  chain_sum pass@1: 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] -> 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] \([+-]0\.\d{3},",
    r"      intervals overlap\)",
    r"  reward: 0\.000 -> 0\.000 \(mean of the first and last 1 of 2 score stages\)",
    r"  time: start \d+%, generate \d+%, score \d+%, train 0%, io \d+%, other \d+%",
    r"  directory: outputs/first/now",
    r"  report: outputs/first/now/report\.html",
]


def test_the_panel_is_whole_and_gives_way_to_last_words_that_break_between_words(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    terminal = run(tmp_path, gate)
    screen = terminal.until(lambda text: "main.0/score" in text and "tokens/s" in text)
    [box] = panels(screen)
    assert box == screen  # nothing else is there
    assert len({len(line) for line in box}) == 1 and len(box[0]) <= COLUMNS
    assert all(line[0] == line[-1] == "│" for line in box[1:-1])
    assert "first" in box[0] and any("1/2" in line for line in box)
    assert terminal.screen.cursor.hidden
    gate.touch()
    last = terminal.finish()
    assert terminal.status == 0
    assert len(last) == len(LAST) and all(re.fullmatch(want, line) for want, line in zip(LAST, last, strict=True)), last
    assert not terminal.screen.cursor.hidden


def test_ctrl_c_at_the_terminal_leaves_no_torn_panel_and_says_how_to_go_on(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    terminal = run(tmp_path, gate)
    terminal.until(lambda text: "main.0/score" in text)
    terminal.type(b"\x03")
    screen = terminal.until(lambda text: text.count("stopping after this stage") == 2)  # above the panel and in it
    assert len(list(panels(screen))) == 1
    gate.touch()
    last = terminal.finish()
    assert terminal.status == 3
    assert list(panels(last)) == []
    assert last[0] == "note: stopping after this stage; press Ctrl-C again to stop at once"
    assert "  continue with: selfevo resume outputs/first/now" in last
    assert last[-2:] == ["selfevo: stopped before main.0/evaluate; continue with:", "    selfevo resume outputs/first/now"]


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_no_color_and_dumb_terminals_are_respected(tmp_path: Path, environment: dict[str, str]) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    terminal = run(tmp_path, gate, **environment)
    last = terminal.finish()
    assert terminal.status == 0 and last[-1] == "  report: outputs/first/now/report.html"
    codes = [c for found in re.findall(rb"\x1b\[([\d;]*)m", terminal.raw) for c in found.split(b";") if c]
    assert not [c for c in codes if 30 <= int(c) <= 107]
    if "TERM" in environment:
        assert b"\x1b" not in terminal.raw
        assert any(re.match(r"main\.1/rollout  iteration 2/2  trajectories 16", line) for line in last)
        assert max(map(len, last)) < COLUMNS  # a line that filled the screen's width would have been cut inside a word


def test_a_mistake_at_the_terminal_breaks_between_words(tmp_path: Path) -> None:
    terminal = Terminal("run", "scale.iteratons=3", cwd=tmp_path)
    last = terminal.finish()
    assert terminal.status == 2
    assert last[0].startswith("selfevo: scale.iteratons: unknown key; did you mean 'iterations'?")
    whole = " ".join(line.strip() for line in last)
    assert whole.endswith("(valid: eval_every, eval_samples, eval_tasks, group, iterations, kept, max_tokens, staleness, tasks)")
