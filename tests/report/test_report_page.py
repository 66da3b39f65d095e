"""The page says what the run directory holds, and nothing that a model wrote can act in it."""

import base64
import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from selfevo import report
from selfevo.errors import StoreError, UserError
from selfevo.store import RunDir
from selfevo.tables import rows_table, scores_table

HOSTILE = "</pre></script><script>alert(1)</script><img src=x onerror=alert(2)>\" onmouseover=\"alert(3) {{ 7*7 }} \x00\x1b[31m ]]> <!-- "
FORBIDDEN = {"img", "iframe", "object", "embed", "link", "base", "form", "input", "image", "use", "foreignobject"}


def page(make, root, **kwargs):
    return make.Page(report.write(root, **kwargs).read_text())


def test_what_a_model_wrote_never_becomes_a_tag_or_an_attribute(run_dir, make):
    rows = [make.judged("a", HOSTILE, 1.0, HOSTILE), make.judged("b", "x", status="error", error=HOSTILE)]
    scored = [rows[0].rewarded(HOSTILE, 0.5, feedback=HOSTILE), rows[1].failed(HOSTILE, "error", HOSTILE)]
    lines = [
        make.line("main.0", "rollout", "rollout", {"rollout/trajectories": 2.0, f"odd/{HOSTILE}": 1.0}),
        make.line("main.0", "score", "score", {f"score/{HOSTILE}": 0.5, f"score/{HOSTILE}_errors": 1.0}),
        make.line("main.1", "score", "score", {f"score/{HOSTILE}": 0.75, f"eval/{HOSTILE}/pass@1": 1.0}),
    ]
    tables = {"main.0/rollout": (rows_table(rows, False), "rows"),
              "main.0/score": (scores_table(scored, {r.trajectory.id: "main.0/rollout" for r in scored}), "scores")}
    spec = json.dumps({"name": HOSTILE, "paper": {HOSTILE: [HOSTILE, {"x": HOSTILE}]}})
    seen = page(make, run_dir(lines, spec=spec, tables=tables, environment={"processor": HOSTILE, "packages": {HOSTILE: HOSTILE}}))
    assert not {tag for tag, _ in seen.tags} & FORBIDDEN
    assert [a.get("type", "") for a, _ in seen.scripts] == ["application/json", ""]  # the data and the browser's own script
    assert json.loads(seen.scripts[0][1])["details"]["0"]["turns"][0]["text"] == HOSTILE and "<" not in seen.scripts[0][1]
    for tag, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    shown = HOSTILE.replace("\x00", "␀").replace("\x1b", "␛")
    assert seen.text.count(shown) >= 5  # the question, the reply, the feedback and two errors, word for word
    assert "49" not in [text.strip() for text in seen.text.splitlines()]


def test_the_page_needs_nothing_from_outside_and_forbids_script(run_dir, make):
    seen = page(make, run_dir([make.evaluation("start", 0.2, 0.1, 0.3)]))
    for tag, attributes in seen.tags:
        for name in ("src", "href", "srcset", "data", "action", "xlink:href"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    assert "url(" not in seen.style and "@import" not in seen.style
    policies = [a["content"] for tag, a in seen.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    (policy,) = policies
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules.pop("style-src") == "'unsafe-inline'"
    allowed = rules.pop("script-src")
    assert set(rules) == {"default-src", "base-uri", "form-action"} and set(rules.values()) == {"'none'"}
    script = (Path(report.__file__).parent / "browser.js").read_bytes()
    assert allowed == f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def test_the_browsers_script_makes_no_html_and_no_code_of_text():
    script = (Path(report.__file__).parent / "browser.js").read_text()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "setTimeout(\"", ".href", ".src"):
        assert way not in script, way


def test_every_metric_stands_in_the_page_with_its_exact_values(run_dir, make):
    values = [0.1 + 0.2, 1 / 3, 2.5e-7, 123456.789]
    lines = [make.line(f"main.{i}", "train", "train", {"train/loss": v, "odd/thing": -v}) for i, v in enumerate(values)]
    rows = {tuple(texts[:2]): numbers for texts, numbers in page(make, run_dir(lines)).rows("all-metrics")}
    assert rows[("train/loss", "train")] == [4, values[0], values[-1], min(values), max(values)]
    assert rows[("odd/thing", "train")] == [4, -values[0], -values[-1], -max(values), -min(values)]


def test_gains_are_first_and_last_pass_at_1_with_their_intervals(run_dir, make):
    lines = [make.evaluation("start", 0.25, 0.2, 0.3), make.line("main.0", "train", "train", {}), make.evaluation("main.0", 0.9, 0.8, 0.95),
             make.line("main.1", "train", "train", {}), make.evaluation("main.1", 0.5, 0.4, 0.6)]
    ((texts, numbers),) = page(make, run_dir(lines)).rows("gains")
    assert numbers == [0.25, 0.2, 0.3, 0.5, 0.4, 0.6, 0.25]
    assert texts[0:2] == ["sums", "pass@1"] and texts[5].startswith("2 updates") and texts[6] == "higher, the intervals do not overlap"
    (root := run_dir(lines)).joinpath("report.html").unlink(missing_ok=True)
    ((texts, numbers),) = page(make, run_dir([lines[4], lines[3], lines[0]], root=root)).rows("gains")
    assert numbers[-1] == -0.25 and texts[6] == "lower, the intervals do not overlap"


def test_kinds_of_time_and_the_rest_add_up_to_the_stage(run_dir, make):
    lines = [make.line("main.0", "rollout", "rollout", {"time/generate": 2.0, "time/io": 0.5}, 3.0),
             make.line("main.1", "rollout", "rollout", {"time/generate": 1.0}, 1.25),
             make.line("main.1", "train", "train", {"time/train": 4.0}, 4.0)]
    rows = page(make, run_dir(lines)).rows("time-by-stage")
    assert [texts[0] for texts, _ in rows] == ["rollout", "train", "all"]
    for _, (_, *kinds, together) in rows:
        assert math.isclose(sum(kinds), together)
    assert rows[0][1] == [2, 3.0, 0.0, 0.5, 0.75, 4.25]  # generate, train, io, other, together
    assert rows[2][1] == [3, 3.0, 4.0, 0.5, 0.75, 8.25]


def test_tokens_are_summed_by_stage_and_in_total(run_dir, make):
    sampled = {"rollout/prompt_tokens": 10.0, "rollout/generated_tokens": 40.0, "rollout/discarded_tokens": 4.0, "time/generate": 2.0}
    lines = [make.line("main.0", "rollout", "rollout", sampled),
             make.line("main.0", "train", "train", {"train/tokens": 36.0}),
             make.line("main.0", "evaluate", "evaluate", {"eval/sums/generated_tokens": 60.0, "time/generate": 3.0})]
    rows = {texts[0]: numbers for texts, numbers in page(make, run_dir(lines)).rows("tokens-by-stage")}
    assert rows["rollout"] == [10, 40, 4, 20] and rows["train"] == [36] and rows["evaluate"] == [60, 0, 20]
    assert rows["total"] == [10, 100, 4, 36, 20]


def test_failures_are_counted_by_part_and_zero_counts_are_not_listed(run_dir, make):
    counts = [{"score/a_b_errors": float(i), "score/a_b_timeouts": 0.0, "score/gate_abstained": 2.0} for i in range(3)]
    lines = [make.line(f"main.{i}", "score", "score", count) for i, count in enumerate(counts)]
    lines.append(make.line("main.2", "rollout", "rollout", {"rollout/trajectories": 8.0, "rollout/error": 0.25, "rollout/failed": 0.0}))
    rows = page(make, run_dir(lines)).rows("failures-by-part")
    assert [(*texts[:3], *numbers, texts[4]) for texts, numbers in rows] == [
        ("score", "gate", "abstention", 6.0, "main.2"),
        ("score", "a_b", "error", 3.0, "main.2"),
        ("rollout", "episode", "error", 2.0, "main.2"),
    ]


def test_a_torn_last_line_and_an_uncommitted_one_are_left_out(run_dir, make):
    root = run_dir([make.line("main.0", "train", "train", {"train/loss": 1.0})], end=False)
    with (root / "metrics.jsonl").open("a") as f:
        f.write(json.dumps(make.line("main.1", "train", "train", {"train/loss": 2.0})) + "\n" + '{"path": "main.2", "sta')
    with (root / "manifest.jsonl").open("a") as f:
        f.write('{"path": "main.1", "stage": "tr')
    rows = {texts[0]: numbers for texts, numbers in page(make, root).rows("all-metrics")}
    assert rows["train/loss"] == [1, 1.0, 1.0, 1.0, 1.0]


def test_a_broken_line_before_the_last_is_refused_with_its_place(run_dir, make):
    root = run_dir([make.line("main.0", "train", "train", {})])
    (root / "metrics.jsonl").write_text('{"path": \n{}\n')
    with pytest.raises(StoreError, match=r"metrics\.jsonl:1: corrupt line"):
        report.write(root)


def test_a_run_without_metrics_gives_a_page_that_says_so(run_dir, make):
    seen = page(make, run_dir([], end=False))
    assert "No stage has been committed yet" in seen.text and "seed: 7" in seen.text
    assert "all-metrics" not in seen.tables


def test_a_folder_that_is_no_run_is_refused_and_names_the_nearest(run_dir, make, tmp_path):
    run_dir([], root=tmp_path / "first")
    with pytest.raises(UserError, match=r"not a run directory .* did you mean '.*first'"):
        report.write(tmp_path / "frist")


def test_status_comes_from_the_end_line_and_from_who_holds_the_lock(tmp_path, make):
    store = RunDir.create(tmp_path / "run", "name: demo\n", {}, "")
    assert "running: this page shows" in page(make, store.root).text
    store.close()
    assert "stopped, can be resumed" in page(make, store.root).text
    assert "failed, can be resumed" in page(make, store.root, status="failed").text
    store = RunDir.open(tmp_path / "run")
    store.commit({"path": "", "stage": "end"})
    assert "running" not in page(make, store.root).text  # the report of a run that is just ending
    store.close()


def test_the_end_of_the_log_is_shown_for_a_run_that_is_not_done(run_dir, make):
    for end, shown in ((False, True), (True, False)):
        root = run_dir([make.line("main.0", "train", "train", {})], end=end)
        (root / "log.txt").write_text("old line\n" * 50 + "RuntimeError: <script>boom\n")
        seen = page(make, root)
        assert ("RuntimeError: <script>boom" in seen.text) is shown and seen.text.count("old line") == (29 if shown else 0)


def test_a_table_that_is_missing_or_broken_is_named_and_the_rest_is_shown(run_dir, make):
    lines = [make.line("main.0", "rollout", "rollout", {"rollout/length": 3.0}), make.evaluation("main.0", 0.5, 0.4, 0.6)]
    table = rows_table([make.judged("a", "#### 4", 1.0)], True)
    root = run_dir(lines, tables={"main.0/rollout": (table, "rows"), "main.0/evaluate": (table, "rows")})
    (root / "tables/main.0/rollout.parquet").unlink()
    (root / "tables/main.0/evaluate.parquet").write_bytes(b"PAR1 not a table PAR1")
    seen = page(make, root)
    assert seen.text.count("Cannot be read") == 2 and "the file is missing" in seen.text
    assert len(seen.rows("gains")) == 1


def test_equal_directories_give_equal_pages_and_leave_nothing_else_behind(run_dir, make):
    root = run_dir([make.evaluation("start", 0.2, 0.1, 0.3)])
    before = {p.name for p in root.iterdir()}
    first = report.write(root).read_bytes()
    assert report.write(str(root)).read_bytes() == first
    assert {p.name for p in root.iterdir()} == before | {"report.html"}


def test_writing_a_report_imports_neither_torch_nor_transformers(run_dir, make):
    table = rows_table([make.judged("a", "4")], False)
    root = run_dir([make.line("main.0", "rollout", "rollout", {})], tables={"main.0/rollout": (table, "rows")})
    code = "import sys; from selfevo import report; report.write(sys.argv[1]); print(*{'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
