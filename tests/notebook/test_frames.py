"""What DataFrames say is what the files say, read here with json and pyarrow alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from scripted_specs import EXACT, coevolution

import selfevo
from selfevo import SavedRun, load_run
from selfevo.errors import StoreError, UserError


def rows(run: SavedRun, table: str) -> list[dict[str, Any]]:
    return pq.read_table(run.root / "tables" / f"{table}.parquet").to_pylist()


def lines(run: SavedRun) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (run.root / "metrics.jsonl").read_text().splitlines()]


def test_metrics_have_a_row_per_place_in_the_loop_and_every_logged_value(bare: SavedRun) -> None:
    frame = bare.metrics
    assert list(frame.index) == ["start", "main.0", "main.1"] and list(frame["iteration"]) == [0, 0, 1]
    logged = {(line["path"], name): value for line in lines(bare) for name, value in line["metrics"].items()}
    by_stage = {(line["stage"], name) for line in lines(bare) for name in line["metrics"]}
    for (path, name), value in logged.items():
        if sum(n == name for _, n in by_stage) == 1:
            assert frame.loc[path, name] == value
    assert math.isnan(frame.loc["start", "score/score"])
    several = {n for _, n in by_stage if sum(m == n for _, m in by_stage) > 1}
    assert several and all(f"{n} ({s})" in frame for s, n in by_stage if n in several)


def test_nothing_is_lost_where_blocks_nest_and_stages_share_a_metric(run_of: Any, tmp_path: Path) -> None:
    run_of(coevolution())
    run = load_run(tmp_path / "run")
    frame, logged = run.metrics, lines(run)
    assert list(frame.index) == list(dict.fromkeys(line["path"] for line in logged)) and "round.1/learn.2" in frame.index
    assert int(frame.drop(columns=["iteration", "updates"]).notna().sum().sum()) == sum(len(line["metrics"]) for line in logged)
    assert frame.loc["round.1/learn.2", "updates"] == 10 and frame.loc["round.1/learn.2", "iteration"] == 1
    kept = [line["metrics"]["score/keep"] for line in logged if line["stage"] == "marks"]
    assert list(run.curve("score/keep", stage="marks")) == kept
    with pytest.raises(UserError, match="metric 'score/keep': logged by several stages; name one with stage="):
        run.curve("score/keep")


def test_a_curve_lies_over_the_updates_so_far(bare: SavedRun) -> None:
    curve = bare.curve("eval/chain_sum/pass@1")
    assert list(curve) == [line["metrics"]["eval/chain_sum/pass@1"] for line in lines(bare) if line["stage"] == "evaluate"]
    assert curve.index.name == "updates" and list(curve.index) == [0, 0, 0]
    assert list(bare.evaluations["pass@1"]) == list(curve) and list(bare.evaluations["suite"]) == ["chain_sum"] * 3


def test_stages_list_every_commit_with_its_table(bare: SavedRun) -> None:
    manifest = [json.loads(text) for text in (bare.root / "manifest.jsonl").read_text().splitlines()]
    listed = [(e["path"], e["stage"], e["table"]) for e in manifest if "kind" in e]
    assert list(bare.stages[["path", "stage", "table"]].itertuples(index=False, name=None)) == listed


def test_trajectories_are_the_rows_of_the_files_with_the_scores_of_later_tables(bare: SavedRun) -> None:
    frame = bare.trajectories("rollout")
    held = [(path, row) for path in ("main.0", "main.1") for row in rows(bare, f"{path}/rollout")]
    said = {row["trajectory"]: row["score"] for path in ("main.0", "main.1") for row in rows(bare, f"{path}/score")}
    assert list(frame["id"]) == [row["id"] for _, row in held] and list(frame["path"]) == [path for path, _ in held]
    for record, (_, row) in zip(frame.to_dict("records"), held, strict=True):
        task, score = json.loads(row["task"]), said[row["id"]]
        assert record["reply"] == row["turns"][-1]["text"] and record["length"] == len(row["turns"][-1]["tokens"])
        assert (record["task"], record["reference"], record["category"]) == (task["id"], task["answer"], task["category"])
        assert record["level"] == task["difficulty"] and record["var/question"] == task["vars"]["question"]
        assert record["key/group"] == dict(row["keys"])["group"] and record["generated_tokens"] == row["cost"]["generated_tokens"]
        assert record["reward"] == dict(score["rewards"])["score"] and record["reward/exact"] == dict(score["rewards"])["exact"]
        assert record["answer"] == dict(score["info"])["answer"] and record["keep"] is score["keep"]


def test_evaluations_are_judged_in_their_own_table(bare: SavedRun) -> None:
    frame = bare.trajectories("evaluate", path="start")
    assert list(frame["reward"]) == [dict(row["score"]["rewards"])["score"] for row in rows(bare, "start/evaluate")]


def test_of_several_score_tables_the_last_to_speak_counts_and_all_are_in_scores(run_of: Any, tmp_path: Path) -> None:
    body = coevolution()
    again = {"other": {"_target_": "selfevo.verifiers.Format", "pattern": "####"}}
    body["stages"]["regrade"] = {"kind": "score", "of": "attempts", "verifier": again}
    body["loop"]["round"]["do"]["teach"]["do"].insert(3, "regrade")
    run_of(body)
    run = load_run(tmp_path / "run")
    frame = run.trajectories("attempts", path="round.0/teach.0")
    regraded = {row["trajectory"]: dict(row["score"]["rewards"]) for row in rows(run, "round.0/teach.0/regrade")}
    assert len(frame) and dict(zip(frame["id"], frame["reward/other"], strict=True)) == {i: r["other"] for i, r in regraded.items()}
    assert "reward/exact" not in frame or frame["reward/exact"].isna().all()
    parts = run.scores(path="round.0/teach.0")
    assert set(parts["part"]) >= {"exact", "other", "learnable"}
    assert set(parts.loc[parts["part"] == "exact", "source"]) == {"round.0/teach.0/attempts"}


def test_scores_tell_parts_that_failed_from_zeros(run_of: Any, tmp_path: Path) -> None:
    body = coevolution()
    body["stages"]["marks"]["verifier"] = {**EXACT, "same": {"_target_": "selfevo.verifiers.Majority"}}
    run_of(body)
    parts = load_run(tmp_path / "run").scores("marks")
    files = [s["score"] for p in sorted((tmp_path / "run/tables").rglob("marks.parquet")) for s in pq.read_table(p).to_pylist()]
    told = sorted((s["subject"], part, status) for s in files for part, status in s["statuses"])
    assert sorted(parts[["trajectory", "part", "status"]].itertuples(index=False, name=None)) == told


def test_turns_hold_ids_log_probs_and_context(bare: SavedRun) -> None:
    frame = bare.turns("rollout", 0)
    flat = [(row["id"], i, turn) for row in rows(bare, "main.0/rollout") for i, turn in enumerate(row["turns"])]
    assert len(frame) == len(flat) > 0
    for record, (owner, number, turn) in zip(frame.to_dict("records"), flat, strict=True):
        assert (record["trajectory"], record["turn"], record["source"], record["text"]) == (owner, number, turn["source"], turn["text"])
        assert list(record["tokens"]) == turn["tokens"] and list(record["context"]) == turn["context"]
        assert turn["logprobs"] is None or list(record["logprobs"]) == turn["logprobs"]


def test_turns_of_a_conversation_are_numbered_in_order(tmp_path: Path) -> None:
    from as_user import BARE

    run = selfevo.run(None, *BARE, {"rollout": "multi_turn"}, dir=tmp_path / "run", show=False)
    frame = run.turns("rollout")
    flat = [(r["id"], i, t["source"]) for p in ("main.0", "main.1") for r in rows(run, f"{p}/rollout") for i, t in enumerate(r["turns"])]
    assert max(i for _, i, _ in flat) > 0
    assert list(frame[["trajectory", "turn", "source"]].itertuples(index=False, name=None)) == flat


def test_columns_are_chosen_and_only_these_come_back(bare: SavedRun) -> None:
    assert list(bare.trajectories("rollout", columns=["reward", "reply", "path"])) == ["reward", "reply", "path"]
    assert list(bare.turns("rollout", columns=["text", "turn"])) == ["text", "turn"]
    whole, some = bare.trajectories(), bare.trajectories(columns=["key/sample", "length"])
    assert some.equals(whole[["key/sample", "length"]])


def test_iterations_count_from_either_end(bare: SavedRun) -> None:
    assert set(bare.trajectories(iteration=-1)["path"]) == {"main.1"}
    assert set(bare.trajectories(iteration=range(2))["path"]) == {"start", "main.0", "main.1"}
    assert set(bare.trajectories(["rollout", "evaluate"], 0)["stage"]) == {"rollout", "evaluate"}


def test_arrow_is_the_file_with_its_place_in_front_and_batches_are_the_same_as_a_stream(bare: SavedRun) -> None:
    table = bare.arrow("rollout")
    files = [pq.read_table(bare.root / f"tables/main.{i}/rollout.parquet") for i in range(2)]
    assert table.column_names == ["path", "stage", "iteration", *files[0].column_names]
    assert table.drop_columns(["path", "stage", "iteration"]).to_pylist() == [row for file in files for row in file.to_pylist()]
    assert sum(batch.num_rows for batch in bare.batches("rollout", columns=["id"])) == table.num_rows
    assert bare.arrow("score", columns=["score"]).column_names == ["path", "stage", "iteration", "score"]


@pytest.mark.parametrize("call, words", [
    (lambda run: run.trajectories("rolout"), "stage 'rolout': has committed no trajectories; did you mean 'rollout'"),
    (lambda run: run.trajectories("score"), r"stage 'score': has committed no trajectories \(valid: evaluate, rollout\)"),
    (lambda run: run.trajectories(iteration=7), "iteration 7: no trajectories from it; there are 0 to 1"),
    (lambda run: run.trajectories(iteration=-3), "iteration -3: no trajectories from it; there are 0 to 1"),
    (lambda run: run.trajectories(path="main.9"), "path 'main.9': nothing with trajectories was committed there"),
    (lambda run: run.trajectories(columns=["rewrad"]), "column 'rewrad': .*did you mean 'reward'"),
    (lambda run: run.trajectories(columns=["reward/exct"]), "column 'reward/exct': .*did you mean 'reward/exact'"),
    (lambda run: run.turns(columns=["logprob"]), "column 'logprob': .*did you mean 'logprobs'"),
    (lambda run: run.samples(), None),
    (lambda run: run.arrow("score", columns=["id"]), "column 'id': tables of stage 'score' have none of that name"),
    (lambda run: run.curve("rollout/rewrd"), "metric 'rollout/rewrd': not logged by this run; did you mean 'rollout/reward'"),
    (lambda run: run.curve("rollout/reward", "train"), "metric 'rollout/reward': not logged by stage 'train'"),
    (lambda run: run.policy(), r"solver@000000: has no weights here \(its replies come from scripted\)"),
    (lambda run: run.tokenizer(), "policy 'solver': has no tokenizer here"),
    (lambda run: run.memory(), "has no memories"),
])  # fmt: skip
def test_what_is_not_there_is_said_in_one_line(bare: SavedRun, call: Any, words: str | None) -> None:
    if words is None:
        assert len(call(bare)) == 0
        return
    with pytest.raises(UserError, match=words) as caught:
        call(bare)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_run_names_one_nearby(bare: SavedRun) -> None:
    with pytest.raises(UserError, match=r"ran: not a run directory \(it has no manifest.jsonl\); did you mean '.*run'"):
        load_run(bare.root.parent / "ran")


def test_a_table_that_was_deleted_is_named(bare: SavedRun, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(bare.root, tmp_path / "copy")
    (tmp_path / "copy/tables/main.0/rollout.parquet").unlink()
    run = load_run(tmp_path / "copy")
    assert len(run.metrics) == 3
    with pytest.raises(StoreError, match=r"main.0/rollout.parquet: the file is missing, though its stage was committed"):
        run.trajectories("rollout")
    (tmp_path / "copy/tables/main.0/rollout.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match=r"rollout.parquet: cannot be read \("):
        run.arrow("rollout")


def test_a_run_that_goes_on_is_read_to_its_last_commit(bare: SavedRun, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "cut"
    shutil.copytree(bare.root, root)
    whole = (root / "manifest.jsonl").read_text().splitlines(keepends=True)
    (root / "manifest.jsonl").write_text("".join(whole[:4]) + whole[4][:20])  # create, start, rollout, score; a line half written
    run = load_run(root)
    assert run.status != "done" and list(run.stages["stage"]) == ["evaluate", "rollout", "score"]
    assert set(run.trajectories()["path"]) == {"start", "main.0"} and list(run.metrics.index) == ["start", "main.0"]


def test_runs_below_a_folder_and_the_settings_in_which_they_differ(bare: SavedRun, tmp_path: Path) -> None:
    from as_user import BARE

    for seed in (1, 2):
        selfevo.run(None, *BARE, dir=tmp_path / f"s{seed}", show=False, seed=seed)
    runs = selfevo.load_runs(tmp_path)
    assert [run.spec["seed"] for run in runs] == [1, 2] and len(runs) == 2 and runs[-1].root.name == "s2"
    assert runs.settings.to_dict("index") == {"s1": {"status": "done", "seed": "1"}, "s2": {"status": "done", "seed": "2"}}
    assert runs.metrics.loc["s2"][list(runs[1].metrics)].equals(runs[1].metrics)
    assert list(runs.evaluations[["run", "seed"]].drop_duplicates().itertuples(index=False, name=None)) == [("s1", "1"), ("s2", "2")]
    assert "s2  done  seed=2" in repr(runs) and "<td" in runs._repr_html_()
    with pytest.raises(UserError, match="no such folder"):
        selfevo.load_runs(tmp_path / "nowhere")


def test_jobs_that_never_became_a_run_are_in_the_settings_only() -> None:
    from selfevo.comparing.find import Found

    gone = [Found(name, Path(name), None, "not started", "", (f"seed={seed}",)) for seed, name in enumerate("ab")]
    runs = selfevo.SavedRuns(gone)
    assert len(runs) == len(runs.metrics) == len(runs.evaluations) == 0 and list(runs.settings["status"]) == ["not started"] * 2
