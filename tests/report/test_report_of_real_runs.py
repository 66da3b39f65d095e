"""The report of a run that really ran (replies come from a script): what it says is what the run committed."""

import json
import subprocess
import sys

import pytest

from selfevo import report, spec
from selfevo.running import execute
from selfevo.tables import rows_from

EXACT = {"exact": {"_target_": "selfevo.verifiers.Exact"}}


class Slow:
    """A part that runs out of time on answers that hold a 5."""

    scope = "row"

    def __call__(self, rows, ctx):
        late = ("timeout", "took <b>too</b> long")
        return [row.failed(ctx.name, *late) if "5" in row.trajectory.text else row.rewarded(ctx.name, 1.0) for row in rows]


@pytest.fixture
def root(tmp_path):
    """A finished run of two iterations: 2 tasks, 2 samples each, one of the four wrong."""
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in (("2+2", "4"), ("1+1", "2"))))
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text(json.dumps({"question": "3+3", "answer": "6"}) + "\n")
    tasks, suite = ({"_target_": "selfevo.tasks.Dataset", "path": str(f)} for f in (file, held_out))
    replies = {"Q 2+2": ["<i>#### 5", "#### 4"], "Q 1+1": "#### 2", "Q 3+3": "#### 6"}
    execute(spec.check({
        "name": "scripted", "seed": 3, "task": tasks, "policies": {"solver": {"_target_": "selfevo.models.Scripted"}},
        "curriculum": {"_target_": "selfevo.curricula.Epochs", "tasks": tasks}, "launcher": {"_target_": "selfevo.launchers.Inline"},
        "roles": {"solver": {"policy": "solver", "prompt": "solve"}}, "prompts": {"solve": "Q {question}"},
        "engine": {"_target_": "selfevo.engines.Scripted", "replies": replies},
        "stages": {
            "rollout": {"kind": "rollout", "role": "solver", "tasks": "curriculum", "n": 2, "group": 2},
            "score": {"kind": "score", "of": "rollout", "update": ["curriculum"],
                      "verifier": {"slow": {"_target_": f"{__name__}.Slow"}, **EXACT}},
            "evaluate": {"kind": "evaluate", "role": "solver", "suite": {
                "_target_": "selfevo.evals.Suite", "name": "held_out", "source": suite, "n": None, "samples": 2, "verifier": EXACT}},
        },
        "loop": {"main": {"repeat": 2, "do": ["rollout", "score", "evaluate"]}},
    }), tmp_path / "run")
    return tmp_path / "run"


def test_the_page_of_a_real_run_repeats_its_metrics_tables_and_failures(root, make):
    import pyarrow.parquet as pq

    seen = make.Page(report.write(root).read_text())
    assert "done" in seen.text.split("scripted", 2)[2][:40]
    lines = [json.loads(text) for text in (root / "metrics.jsonl").read_text().splitlines()]
    shown = {(texts[0], texts[1]): numbers for texts, numbers in seen.rows("all-metrics")}
    assert set(shown) == {(name, line["stage"]) for line in lines for name in line["metrics"]}
    for (name, stage), (count, first, last, low, high) in shown.items():
        values = [line["metrics"][name] for line in lines if line["stage"] == stage and name in line["metrics"]]
        assert [count, first, last, low, high] == [len(values), values[0], values[-1], min(values), max(values)]
    assert [(*texts[:3], *numbers) for texts, numbers in seen.rows("failures-by-part")] == [("score", "slow", "time-out", 2.0)]
    last = rows_from(pq.read_table(root / "tables/main.1/rollout.parquet"))
    generated = sum(row.trajectory.length for row in last)
    totals = {texts[0]: numbers for texts, numbers in seen.rows("tokens-by-stage")}
    assert totals["rollout"][1] == 2 * generated
    for text in ("<i>#### 5", "#### 6", "slow: timeout. took <b>too</b> long", "main.1/rollout.parquet", "main.1/evaluate.parquet"):
        assert text in seen.text
    assert "i" not in {tag for tag, _ in seen.tags}


def test_rewards_of_a_rollout_are_shown_though_another_table_holds_them(root, make):
    text = make.Page(report.write(root).read_text()).text
    rollout = text[text.index("tables/main.1/rollout.parquet") :]
    wrong = rollout.index("<i>#### 5")
    assert rollout.index("exact 1") < rollout.index("exact 0") < wrong  # the highest reward first
    assert rollout.count("exact 0") == 1


def test_reading_tables_and_writing_the_page_import_no_pandas(root):
    code = (
        "import sys; from pathlib import Path; from selfevo import report; from selfevo.tables import rows_from, scan; "
        "root = Path(sys.argv[1]); report.write(root); "
        "print(sum(len(rows_from(batch)) for f in root.glob('tables/*/rollout.parquet') for batch in scan(f)), 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, check=True)
    assert done.stdout == "8 False\n"
