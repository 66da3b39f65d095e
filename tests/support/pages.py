"""The pages of the documentation, their fenced blocks, and a folder (the desk) in which their commands are run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?P<before>(?:^<!--.*?-->\n)*)^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"<!-- (test|file): (.*?) -->")
FIRST = "selfevo run experiment=quickstart scale=tiny"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is where it opens. Directives stand in HTML comments right above it:

    `<!-- test: scale=tiny -->` adds overrides to its runs, `exit 2` expects that status, `shows` holds the next `text` block against
    the output (`...` stands for anything), `spec, why: ...` checks the specs of its runs without running them, `skip, why: ...` does
    neither. `<!-- file: path -->` makes it a file of the desk.

    `python` blocks that are no files are the cells of one session per page: they run in order, and as in a notebook the value of a last
    expression is shown.
    """

    page: Path
    line: int
    kind: str
    body: str
    tests: tuple[str, ...]
    file: str | None
    shown: str

    @property
    def id(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def skipped(self) -> str | None:
        return next((t.partition("why:")[2].strip() for t in self.tests if t.startswith("skip")), None)

    @property
    def spec_only(self) -> bool:
        return any(t.startswith("spec") for t in self.tests)

    @property
    def status(self) -> int:
        return next((int(t.split()[1]) for t in self.tests if t.startswith("exit ")), 0)

    @property
    def added(self) -> str:
        return " ".join(t for t in self.tests if "=" in t and not t.startswith(("skip", "spec")))

    def commands(self) -> list[str]:
        """Commands in order, as typed: continued lines joined, comments left out; a quoted text may go over several lines."""
        out: list[str] = []
        held = ""
        for line in self.body.replace("\\\n", " ").splitlines():
            held = f"{held}\n{line}" if held else re.sub(r"(^|\s+)#.*$", "", line).strip()
            if held and balanced(held):
                out.append(held)
                held = ""
        return out


def balanced(text: str) -> bool:
    """Whether every quote is closed."""
    try:
        shlex.split(text)
    except ValueError:
        return False
    return True


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    found = list(BLOCK.finditer(text))
    out = []
    for i, match in enumerate(found):
        said = DIRECTIVE.findall(match["before"])
        tests = tuple(t.strip() for kind, what in said if kind == "test" for t in what.split(";"))
        shown = found[i + 1]["body"] if i + 1 < len(found) and "shows" in tests and found[i + 1]["kind"] == "text" else ""
        line = text.count("\n", 0, match.start("kind")) + 1
        file = next((what for kind, what in said if kind == "file"), None)
        out.append(Block(page, line, match["kind"], match["body"], tests, file, shown))
    return out


@dataclass
class Desk:
    """A folder with the files that pages show, in which their commands are run, each one once."""

    root: Path
    done: dict[str, tuple[int, str]] = field(default_factory=dict)

    def run(self, command: str) -> tuple[int, str]:
        """Exit status and output (both streams) of a command; `<time>` in a path is the first run there is."""
        command = self._timed(command)
        if command not in self.done:
            inside = re.match(r"selfevo (validate|list|show|plan|reproduce)\b", command) and not any(c in command for c in "|>'\"")
            self.done[command] = self._inside(command) if inside else self._outside(command)
        return self.done[command]

    def _timed(self, command: str) -> str:
        def first(match: re.Match[str]) -> str:
            folder = self.root / match[1]
            if not folder.is_dir():
                assert match[1] == "outputs/quickstart", f"no page has run anything in {match[1]}"
                self.run(FIRST)
            return str(sorted(folder.iterdir())[0].relative_to(self.root))

        return re.sub(r"(outputs/\w+)/<time>", first, command)

    def _inside(self, command: str) -> tuple[int, str]:
        """In this process: what does not start anything needs no process of its own."""
        from selfevo.cli import main

        said = io.StringIO()
        with contextlib.chdir(self.root), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return main(command.split()[1:]), said.getvalue()

    def _outside(self, command: str) -> tuple[int, str]:
        place = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": place, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        done = subprocess.run(["bash", "-c", command], cwd=self.root, env=env, capture_output=True, text=True, timeout=600)
        return done.returncode, done.stdout + done.stderr


SESSION = """
import ast, contextlib, io, json, sys
said, names = [], {}
for source in json.load(sys.stdin):
    held = io.StringIO()
    tree = ast.parse(source)
    shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(held):
        exec(compile(tree, "<cell>", "exec"), names)
        value = None if shown is None else eval(compile(ast.Expression(shown.value), "<cell>", "eval"), names)
        if value is not None:
            print(repr(value))
    said.append(held.getvalue())
json.dump(said, sys.stdout)
"""


def session(desk: Desk, cells: list[Block]) -> list[str]:
    """What each cell of a page prints, run in order in one process on the desk."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-c", SESSION], input=json.dumps([c.body for c in cells]), cwd=desk.root, env=env,
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def lay_out(root: Path) -> Desk:
    """A desk in `root` with every file that a page shows under a `file:` directive."""
    for page in PAGES:
        for block in blocks_of(page):
            if block.file is not None:
                file = root / block.file
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.body)
    return Desk(root)
