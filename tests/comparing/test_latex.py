"""LaTeX of a comparison's tables: every special character is escaped, every row has its columns."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from selfevo.comparing.comparison import compare
from selfevo.comparing.show import _latex, latex
from selfevo.comparing.tables import Table, tables


def test_special_characters_are_escaped_and_columns_are_aligned() -> None:
    text = _latex(Table("50% of a_b", ("run", "p"), (("x&y\\z", "< 0.0001"), ("[a]", "–")), (True, False), ("n#1",)))
    assert r"\caption{50\% of a\_b}" in text and r"\begin{tabular}{lr}" in text and r"n\#1\par" in text
    assert r"{x\&y\textbackslash{}z} & {\textless{} 0.0001} \\" in text
    assert r"{[a]} & {--} \\" in text  # braces: a bracket after a line break would be read as its argument


def test_every_table_is_balanced_and_its_rows_have_as_many_cells_as_columns(write_run: Callable[..., Path], sample: Callable) -> None:
    hostile = {"a&b": "50%_#{x}", "note": "~^\\textbackslash $x$ <b> – \u00e9\x1b"}
    roots = []
    for name, right, more in (("a_0", 0.0, {}), ("b&1", 1.0, hostile), ("c#2", 1.0, {"stages": {}})):
        rows = [sample(q, 0, right) for q in ("xy" if name != "c#2" else "zw")]
        roots.append(write_run(name, [(0.1, 0, 0), (0.5, 10, 1)], rows, more))
    comparison = compare(roots)
    text = latex(comparison)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(tables(comparison))
    for table in text.split("\n\n"):
        spec = re.search(r"\\begin\{tabular\}\{([lr]+)\}", table)
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert (spec is None) == (not rows)
        for row in rows:
            assert len(re.findall(r"(?<!\\)&", row)) + 1 == len(spec[1])
        depth = 0
        for brace in re.findall(r"(?<!\\)[{}]", table):
            depth += 1 if brace == "{" else -1
            assert depth >= 0
        assert depth == 0
        plain = re.sub(r"\\(?:[&%$#_{}]|[a-z]+)", "", re.sub(r"(?<!\\)&", "", table.replace(r"\\", "")))
        assert not re.search(r"[%$#_~^<>\\\x00-\x09\x0b-\x1f]", plain), plain
