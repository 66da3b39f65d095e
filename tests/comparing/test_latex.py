"""LaTeX of a comparison's tables: every special character is escaped, every row has its columns."""

from __future__ import annotations

from selfevo.comparing.show import _latex
from selfevo.comparing.tables import Table


def test_special_characters_are_escaped_and_columns_are_aligned() -> None:
    text = _latex(Table("50% of a_b", ("run", "p"), (("x&y\\z", "< 0.0001"), ("[a]", "–")), (True, False), ("n#1",)))
    assert r"\caption{50\% of a\_b}" in text and r"\begin{tabular}{lr}" in text and r"n\#1\par" in text
    assert r"{x\&y\textbackslash{}z} & {\textless{} 0.0001} \\" in text
    assert r"{[a]} & {--} \\" in text  # braces: a bracket after a line break would be read as its argument
