"""selfevo list: experiments with what evolves, paper, components, time and verdict; or the choices of a config group."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import UserError, nearest

if TYPE_CHECKING:
    from ..catalogue.entries import Entry
    from ..catalogue.files import Tree

USAGE = """usage: selfevo list [WORD...] [--json] [--config-dir DIR]

Without a word: every experiment. A word filters by text, group=choice by
component; several must all match. The name of a config group alone lists its
choices.

  selfevo list majority              experiments that mention it
  selfevo list curriculum=sec        that use it (or what its first line names)
  selfevo list optimizer=grpo tiny   GRPO with the bundled policy
  selfevo list optimizer             the choices of a group"""

WIDE = 150
"""Columns from which an experiment is one row."""


def main(arguments: Sequence[str]) -> int:
    """Print them. Raises UserError for a wrong call, or where nothing matches."""
    given = list(arguments)
    if any(a in ("-h", "--help") for a in given):
        print(USAGE)
        return 0
    folders: list[str] = []
    words: list[str] = []
    as_json = False
    rest = iter(given)
    for argument in rest:
        name, equals, said = argument.partition("=")
        if name == "--config-dir":
            folders.append(said if equals else next(rest, ""))
        elif argument == "--json":
            as_json = True
        elif argument.startswith("-"):
            raise UserError(f"unknown option '{argument}'{nearest(argument, ['--json', '--config-dir', '--help'])}")
        else:
            words.append(argument)
    from ..catalogue.files import Tree

    tree = Tree(folders)
    if len(words) == 1 and words[0] in tree.groups() and words[0] != "experiment":
        _group(words[0], tree, as_json)
        return 0
    from ..catalogue.entries import entries, folded, select

    wanted = [w for w in words if w != "experiment"]
    found = select(entries(tree), wanted, tree)
    if as_json:
        print(json.dumps([values(e) for e in found], indent=1))
        return 0
    _experiments(found if any("tiny" in w for w in wanted) else folded(found), tree, bool(wanted))
    return 0


def values(e: Entry) -> dict[str, object]:
    """An entry as JSON: the ledger's result without its curves."""
    effect = None if e.ledger is None else {"baseline": e.ledger["baseline"], "metric": e.ledger["metric"], **e.ledger["effect"]}
    paper = {k: e.paper.get(k) for k in ("title", "arxiv", "year", "code")} if e.paper else None
    return {
        "id": e.id, "title": e.title, "evolves": e.evolves, "paper": paper, "choices": dict(e.choices), "tiny": e.tiny,
        "tiny_seconds": e.seconds, "verdict": e.verdict, "effect": effect,
    }  # fmt: skip


def _group(group: str, tree: Tree, as_json: bool) -> None:
    from ..catalogue.entries import defaults

    usual = defaults(tree).get(group)
    titles = {choice: tree.title(group, choice) for choice in tree.choices(group)}
    if as_json:
        print(json.dumps(titles, indent=1))
        return
    width = max(map(len, titles), default=0)
    for choice, title in titles.items():
        _line(f"{choice:<{width}}  ", title + (" (the default)" if choice == usual else ""), width + 2)


def _line(head: str, text: str, indent: int) -> None:
    """A line, wrapped below itself at a terminal, whole elsewhere (for grep)."""
    columns = _columns()
    if columns is None:
        print((head + text).rstrip())
        return
    import textwrap

    print(textwrap.fill(text, max(columns, indent + 30), initial_indent=head, subsequent_indent=" " * indent, break_on_hyphens=False))


def _columns() -> int | None:
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def _experiments(found: Sequence[Entry], tree: Tree, filtered: bool) -> None:
    from ..catalogue.entries import notable

    rows = [(e.id, e.evolves or e.title, _paper(e), _said(notable(e, tree)), _time(e), e.verdict) for e in found]
    columns = _columns()
    if columns is None:  # a line each, for grep and cut
        widths = [max(len(row[i]) for row in rows) for i in (0, 5, 4, 2)]
        for row in rows:
            cells = (row[0], row[5], row[4], row[2])
            print("  ".join([*(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)), f"{row[1]}  [{row[3]}]"]).rstrip())
        return
    _table(rows, columns)
    if not filtered:
        _line("", "A method with a tiny time also runs as experiment=tiny/ID with the bundled policy.", 0)


def _paper(e: Entry) -> str:
    return f"arXiv:{e.paper['arxiv']}" if e.paper.get("arxiv") else ""


def _said(choices: dict[str, str]) -> str:
    return " ".join(f"{k}={v}" for k, v in choices.items())


def _time(e: Entry) -> str:
    return "" if e.seconds is None else f"{e.seconds:.0f} s" if e.seconds < 100 else f"{e.seconds / 60:.0f} min"


def _table(rows: Sequence[tuple[str, ...]], columns: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from .plain import put

    wide = columns >= WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("experiment", no_wrap=True, style="bold")
    if wide:
        table.add_column("paper", no_wrap=True)
    table.add_column("what evolves", ratio=3)
    if wide:
        table.add_column("uses", ratio=2, style="dim")
    table.add_column("tiny", no_wrap=True, justify="right")
    table.add_column("verdict", no_wrap=True)
    styles = {"shown": "green", "opposite": "red", "not shown": "yellow"}
    for name, evolves, paper, uses, seconds, verdict in rows:
        end = (seconds, Text(verdict, style=styles.get(verdict, "dim")))
        if wide:
            table.add_row(name, paper, evolves, uses, *end)
        else:
            first = Text.assemble(name, (f"\n{paper}" if paper else "", "not bold dim"))
            table.add_row(first, Text.assemble(evolves, (f"\n{uses}", "dim")), *end)
    put([table])
