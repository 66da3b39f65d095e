"""Every command that README and docs show is run, and does what the page says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from pages import FIRST, PAGES, ROOT, Block, Desk, blocks_of, session

SHELL = [block for page in PAGES for block in blocks_of(page) if block.kind == "bash"]
LEDGERS = ("decisions.md", "methods.md", "performance.md")
"""Pages whose runs take hours: their specs are checked, and the scripts they name must exist."""

MOST_SKIPPED = 4
CTRL_C = "timeout --foreground --preserve-status -s INT 8"
"""What ends a command that goes on until Ctrl-C; without `--foreground` it would hear of it twice, and perhaps on its way out."""


@pytest.mark.slow
@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.id)
def test_the_commands_of_a_block_do_what_the_page_says(block: Block, desk: Desk) -> None:
    if block.skipped is not None:
        pytest.skip(block.skipped)
    said = ""
    for command in block.commands():
        if command.startswith("make "):
            made = subprocess.run(["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
        elif re.match(r"(python|\S+/python) (scripts|benchmarks)/", command):
            assert (ROOT / command.split()[1]).is_file(), f"{command}: no such file"
        else:
            status, text = desk.run(runnable(command, block))
            assert status == block.status, f"{command}: exit status {status}\n{text[-2000:]}"
            said += text
    check_shown(block.shown, said)


def checked_only(block: Block) -> bool:
    """Whether the specs of a block's runs are all that is checked."""
    return block.spec_only or block.page.name in LEDGERS


def runnable(command: str, block: Block) -> str:
    """The command with the block's overrides, or the check of its spec."""
    if checked_only(block):
        command = re.sub(r"\bselfevo run\b", "selfevo validate", command)
        command = re.sub(r"\bselfevo reproduce (?=\w)", "selfevo reproduce --dry-run ", command)
    command = re.sub(r"^selfevo watch\b", f"{CTRL_C} selfevo watch", command)
    return f"{command} {block.added}" if block.added and re.search(r"\bselfevo run\b", command) else command


def check_shown(shown: str, said: str) -> None:
    """Every line that a page shows as output stands in the output, in that order; `...` stands for anything."""
    at = 0
    for line in filter(None, map(str.strip, shown.splitlines())):
        parts = (r"\s+".join(map(re.escape, part.split())) for part in line.split("..."))
        found = re.compile(".*".join(parts)).search(said, at)
        assert found is not None, f"the page shows {line!r}, which is not in (the rest of) the output:\n{said[at:]}"
        at = found.end()


CELLS = {page: [b for b in blocks_of(page) if b.kind == "python" and b.file is None] for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, cells in CELLS.items() if cells], ids=lambda p: p.name)
def test_the_cells_of_a_page_run_in_order_and_show_what_it_says(page: Path, desk: Desk) -> None:
    cells = CELLS[page]
    for cell, said in zip(cells, session(desk, cells), strict=True):
        check_shown(cell.shown, said)


def test_few_commands_are_skipped_and_each_says_why() -> None:
    skipped = [block for block in SHELL if block.skipped is not None]
    assert len(skipped) <= MOST_SKIPPED, [block.id for block in skipped]
    assert all(len(block.skipped or "") > 10 for block in skipped), [block.id for block in skipped]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_stand_in_bash_blocks_only(page: Path) -> None:
    command = re.compile(r"^(\$ )?(selfevo (run|resume|validate|list|report|watch|plan|doctor|reproduce)|make \w)", re.MULTILINE)
    assert not [b.id for b in blocks_of(page) if b.kind != "bash" and command.search(b.body)]


@pytest.mark.slow
def test_every_file_of_the_run_directory_that_the_readme_lists_is_there(desk: Desk) -> None:
    listing = next(b.body for b in blocks_of(ROOT / "README.md") if b.kind == "text" and "manifest.jsonl" in b.body)
    assert desk.run(FIRST)[0] == 0
    root = sorted((desk.root / "outputs" / "quickstart").iterdir())[0]
    names = re.findall(r"(?<!\S)[\w./]+\.(?:yaml|jsonl?|diff|txt|html|parquet|pt|safetensors|jinja)(?!\S)", listing)
    assert len(names) > 15
    assert not [n for n in names if not (root / n).is_file() and not (root / "policies/solver/000002" / n).is_file()]
    listed = {n for n in names if "/" not in n} | {"policies", "state", "tables"}
    assert {p.name for p in root.iterdir() if not p.name.startswith(".")} <= listed
