"""How a comparison is written: legible at 80 columns, whole in Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from selfevo import cli
from selfevo.comparing import show
from selfevo.comparing.comparison import Comparison, compare
from selfevo.comparing.tables import Table, tables
from selfevo.report.numbers import number
from selfevo.sweeps.jobs import Jobs, Outcome

Write = Callable[..., Path]


@pytest.fixture
def sweep(write_run: Write, sample: Callable, tmp_path: Path) -> Path:
    """Three runs and a job that failed before it was one; their settings are many and long."""
    jobs = Jobs(tmp_path / "sweep")
    for i in range(3):
        rows = [sample(q, k, float((ord(q) + i + k) % 3 == 0)) for q in "abcd" for k in range(2)]
        spec = {"optimizer": {"lr": 10.0**-i, "objective": {"a_rather_long_name_of_a_term": {"coef": i}}}, "note": f"{'long ' * 20}{i}"}
        write_run(f"sweep/{i}", [(0.1, 0, 0), (0.25, 100 * (i + 1), 10)], rows, spec, end=i != 2)
        given = (f"optimizer.lr={10.0**-i}", f"optimizer.objective.a_rather_long_name_of_a_term.coef={i}", f"note={'long ' * 20}{i}")
        jobs.write(Outcome(i, given, f"sweep/{i}", "done" if i != 2 else "stopped"))
    error = "optimizer: Learner: lr is 7, which is too much; expected less of it"
    jobs.write(Outcome(3, ("optimizer.lr=7",), "sweep/3", "failed", 2, error))
    return tmp_path / "sweep"


@pytest.fixture
def comparison(sweep: Path) -> Comparison:
    return compare([sweep], baseline=sweep / "0")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_longer_than_the_terminal_is_wide(comparison: Comparison, width: int) -> None:
    lines = show.terminal(comparison, width).splitlines()
    assert max(map(len, lines)) <= width
    assert [line for line in lines if line.startswith("run 3 failed: optimizer: Learner: lr is 7")]


def test_a_table_that_is_too_wide_goes_on_below_with_the_names_of_its_runs(comparison: Comparison) -> None:
    first = show.terminal(comparison, 80).split("\n\nHeld-out")[0]
    blocks = first.split("\n\n")
    assert len(blocks) > 1
    for block in blocks:
        rows = [line for line in block.splitlines() if line[:2] in ("0 ", "1 ", "2 ", "3 ")]
        assert [row[0] for row in rows] == ["0", "1", "2", "3"]


def test_every_kind_of_table_is_there(comparison: Comparison) -> None:
    assert [table.title for table in tables(comparison)] == [
        "Runs and the settings that differ", "Held-out sums, last measured [95% interval over tasks]",
        "Against run 0 on sums, paired", "Learning speed: pass@1 of sums at equal cost", "Generated tokens to reach a pass@1 of sums",
        "Time to reach a pass@1 of sums", "Cost, evaluation included",
    ]  # fmt: skip
    statuses = [row[1] for row in tables(comparison)[0].rows]
    assert statuses == ["done", "done", "stopped", "failed"]


def test_long_labels_become_numbers_with_a_key(write_run: Write) -> None:
    roots = [write_run(f"a/quite/deep/place/{name}", [(0.5, 0, 0)]) for name in ("2026-11-28_20-46-29", "2026-11-28_20-46-30")]
    first, second, *_ = tables(compare(roots))
    assert [row[:2] for row in first.rows] == [("#1", "2026-11-28_20-46-29"), ("#2", "2026-11-28_20-46-30")]
    assert [row[0] for row in second.rows] == ["#1", "#2"]


def test_markdown_has_a_rule_under_every_head_and_as_many_cells_in_every_row(comparison: Comparison) -> None:
    blocks = [b for b in show.markdown(comparison).split("\n\n") if b.startswith("|")]
    assert len(blocks) == len(tables(comparison))
    for block in blocks:
        head, rule, *rows = block.splitlines()
        assert set(rule) <= set("|-: ") and len({line.count(" |") for line in (head, rule, *rows)}) == 1
    escaped = Table("t", ("a",), (("x|y",),), (True,))
    assert "| x\\|y |" in show._markdown(escaped)


def test_csv_has_a_line_per_run_that_reads_back(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(show.as_csv(comparison))))
    assert [(row["run"], row["status"]) for row in rows] == [("0", "done"), ("1", "done"), ("2", "stopped"), ("3", "failed")]
    assert [row["optimizer.lr"] for row in rows] == ["1.0", "0.1", "0.01", "7"]
    assert float(rows[0]["sums/pass@1"]) == 0.25
    assert rows[3]["sums/pass@1"] == rows[3]["seconds"] == ""
    assert float(rows[1]["generated"]) == 214.0


def test_json_holds_everything(comparison: Comparison) -> None:
    whole = json.loads(show.as_json(comparison))
    assert [run["run"] for run in whole["runs"]] == ["0", "1", "2", "3"]
    assert whole["runs"][3]["error"].startswith("optimizer: Learner: lr is 7")
    assert whole["spec_differences"]["optimizer.lr"] == ["1.0", "0.1", "0.01", "–"]
    (paired,) = whole["paired"]
    assert (paired["suite"], paired["baseline"], set(paired["differences"])) == ("sums", "0", {"1", "2"})
    against = comparison.against[0].by_run[1]
    assert against is not None and paired["differences"]["1"]["mean"] == against.mean
    (speed,) = whole["speed"]
    assert speed["budgets"] == {"tokens": 100.0, "seconds": 10.0}
    assert speed["at"]["3"] is None and speed["at"]["0"]["tokens"]["value"] == 0.25


def test_the_command_says_what_is_wrong_with_a_call(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, line in (
        ([], "selfevo: which runs? usage: selfevo compare DIR..."),
        ([str(sweep), "--baslin", "x"], "selfevo: unknown option '--baslin'; did you mean '--baseline'?"),
        ([str(sweep), "--baseline", str(sweep)], f"selfevo: --baseline {sweep}: not a run directory"),
        ([str(sweep / "jobs")], f"selfevo: {sweep / 'jobs'}: holds no run"),
    ):
        assert cli.main(["compare", *arguments]) == 2
        err = capsys.readouterr().err
        assert err.startswith(line) and err.count("\n") == 1


def test_the_command_prints_what_was_asked_for(sweep: Path, capsys: pytest.CaptureFixture[str], comparison: Comparison) -> None:
    base = ["--baseline", str(sweep / "0")]
    for form, text in (([], show.terminal(comparison)), (["--csv"], show.as_csv(comparison)), (["--markdown"], show.markdown(comparison)),
                       (["--json"], show.as_json(comparison))):  # fmt: skip
        assert cli.main(["compare", str(sweep), *base, *form]) == 0
        assert capsys.readouterr().out == text


@pytest.mark.slow
def test_comparing_imports_no_torch(sweep: Path) -> None:
    code = (
        f"import sys; from selfevo.cli import main; main(['compare', {str(sweep)!r}, '--json'])\n"
        "print([m for m in ('torch', 'transformers', 'hydra', 'sympy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_numbers_are_written_as_the_report_writes_them(comparison: Comparison) -> None:
    cost = comparison.costs[0]
    assert cost is not None
    assert tables(comparison)[-1].rows[0][5] == number(cost.generated) == "114"
