"""What the browser lists, the panel counts and the page holds is what the tables say."""

import json
from dataclasses import replace
from itertools import accumulate

import pytest

from selfevo.records import Row, Sample, Task, Trajectory, Turn
from selfevo.report.chosen import browsed
from selfevo.report.details import HEAD, TAIL, Details
from selfevo.report.entries import Entries
from selfevo.report.explore import groups, heats
from selfevo.report.pieces import cuts
from selfevo.report.read import read_run
from selfevo.tables import rows_table, samples_table, scores_table

WORDS = {1: "ab", 2: "c", 3: "", 4: "d"}


def row(path, number, text="x", reward=None, group="g", level=1.0, category="sum", answer=None, **changes):
    task = Task({"question": f"{number}?"}, category=category, difficulty=level)
    turn = Turn("policy", text, (1,) * len(text))
    one = Row.of(Trajectory(f"{path}/{number}", task, "solver", "solver@000000", (turn,), "e", keys={"group": group}, **changes))
    if reward is None:
        return one
    return one.rewarded("format", 0.25, info={"answer": answer} if answer else {}).rewarded("score", reward)


@pytest.fixture
def made(run_dir, make):
    """A run of rollouts, one list of rows each, judged by score tables of their own."""

    def build(*rollouts, extra=(), spec="name: demo\n"):
        lines, tables = [], {}
        for i, rows in enumerate(rollouts):
            path = f"main.{i}/rollout"
            tables[path] = (rows_table(rows, False), "rows")
            judged = [r for r in rows if r.score.rewards]
            tables[f"main.{i}/score"] = (scores_table(judged, {r.trajectory.id: path for r in rows}), "scores")
            lines += [make.line(f"main.{i}", stage, stage, {}, iteration=i) for stage in ("rollout", "score")]
        for stage, (table, kind) in extra:
            lines.append(make.line(f"main.{len(rollouts) - 1}", stage, "train", {}))
            tables[f"main.{len(rollouts) - 1}/{stage}"] = (table, kind)
        return read_run(run_dir(lines, tables=tables, spec=spec))

    return build


def spread(runs):
    return [value for value, count in runs for _ in range(count)]


def test_the_index_has_every_trajectory_with_the_reward_that_another_table_holds(made):
    first = [row("main.0/rollout", i, reward=r) for i, r in enumerate((0.0, 1.0))]
    broken = row("main.1/rollout", 0, status="error", error="boom", category="other", level=None)
    second = [broken, row("main.1/rollout", 1, reward=0.123456)]
    run = made(first, second)
    index = browsed(run, Entries(run)).index
    assert index["total"] == index["entries"] == 4 and index["row"] is None
    places = [(t["path"], t["stage"], t["iteration"], t["rows"]) for t in index["tables"]]
    assert places == [("main.0", "rollout", 0, 2), ("main.1", "rollout", 1, 2)]
    assert spread(index["table"]) == [0, 0, 1, 1] and index["reward"] == [0, 1, None, 0.1235] and index["level"] == [1, 1, None, 1]
    assert [index["names"]["status"][c] for c in spread(index["status"])] == ["finished", "finished", "error", "finished"]
    assert [index["names"]["category"][c] for c in spread(index["category"])] == ["sum", "sum", "other", "sum"]


def test_groups_are_counted_as_their_rewards_say(made):
    g = [("a", 1.0, "4"), ("a", 0.0, "5"), ("a", 1.0, "4"), ("b", 0.0, "1"), ("b", 0.0, "1"), ("c", 1.0, "2"), ("c", 1.0, "3"),
         ("d", 1.0, "9"), ("e", None, None)]  # d is alone, e is not judged
    run = made([row("main.0/rollout", i, group=k, reward=r, answer=a) for i, (k, r, a) in enumerate(g)])
    found = {s.metric: s.values for s in groups(Entries(run))}
    assert found["groups/some"] == [2 / 3] and found["groups/all"] == [1 / 3] and found["groups/mixed"] == [1 / 3]
    assert found["groups/distinct"] == [pytest.approx((2 / 3 + 1 / 2 + 2 / 2) / 3)]


def test_reward_precision_is_the_share_of_solving_answers_that_equal_the_reference(made):
    said = ((1.0, " 4"), (1.0, "5"), (1.0, "4"), (0.0, "4"), (1.0, None))
    rows = [row("main.0/rollout", i, reward=r, answer=a) for i, (r, a) in enumerate(said)]
    run = made([replace(r, trajectory=replace(r.trajectory, task=replace(r.trajectory.task, answer="4 ", id=""))) for r in rows])
    assert {s.metric: s.values for s in groups(Entries(run))}["groups/precision"] == [pytest.approx(2 / 3)]


def test_heat_maps_are_shares_of_each_execution_and_only_of_what_varies(made):
    run = made([row("main.0/rollout", i, level=v) for i, v in enumerate((1.0, 1.0, 1.0, 2.0))], [row("main.1/rollout", 0, level=3.0)])
    (levels,) = heats(Entries(run))
    assert levels.rows == ("level 1", "level 2", "level 3") and levels.columns == ("0", "1")
    assert levels.values == ((0.75, 0.0), (0.25, 0.0), (0.0, 1.0))


def test_a_small_run_is_there_whole_and_a_large_one_keeps_to_its_bytes_and_lists_evenly(made):
    run = made(*([row(f"main.{i}/rollout", j, "text " * 40, reward=j / 50) for j in range(50)] for i in range(4)))
    entries = Entries(run)
    whole = browsed(run, entries)
    assert {d["id"] for d in whole.details.values()} == {f"main.{i}/rollout/{j}" for i in range(4) for j in range(50)}
    some = browsed(run, entries, limit=20_000, listed=100)
    assert some.index["entries"] == 100 and some.index["total"] == 200 and some.index["row"] == [*range(0, 50, 2)] * 4
    assert 10_000 < len(json.dumps(some.details)) < 24_000
    tables, rows = spread(some.index["table"]), some.index["row"]
    for i, detail in some.details.items():
        assert detail["id"] == f"main.{tables[i]}/rollout/{rows[i]}"
    for table in range(4):
        rewards = [d["rewards"]["score"] for i, d in some.details.items() if tables[i] == table]
        assert min(rewards) == 0 and max(rewards) == 0.96  # both ends of what is listed


def test_a_parent_comes_with_its_branch(made):
    rows = [row("main.0/rollout", j, "text " * 40, reward=1.0 if j == 99 else 0.5) for j in range(99)]
    rows.append(row("main.0/rollout", 99, "end", reward=1.0, parent="main.0/rollout/37", prefix=1))
    run = made(rows)
    ids = {d["id"] for d in browsed(run, Entries(run), limit=30_000).details.values()}
    assert len(ids) < 100 and {"main.0/rollout/99", "main.0/rollout/37"} <= ids


def test_advantages_lie_on_the_turns_the_policy_wrote(made, monkeypatch):
    said = Turn("policy", "abc", (1, 2), (-0.5, -1.25)), Turn("policy", "d", (4,), (0.0,))
    turns = (Turn("data", "q", (9,)), said[0], Turn("env", "e", (8,)), said[1])
    one = Row.of(Trajectory("main.0/rollout/0", Task({"q": "?"}), "solver", "solver@000000", turns, "e")).rewarded("score", 1.0)
    sample = Sample("main.0/rollout/0", (1, 2, 8, 4), {"train": (9,)}, {"outcome": -0.5, "mask": (1.0, 1.0, 0.0, 1.0)})
    run = made([one], extra=[("train", (samples_table([sample]), "samples"))], spec="optimizer: {advantage: {outcome: {}}}\n")
    monkeypatch.setattr("selfevo.report.details.decoder", lambda run, name: lambda ids: "".join(WORDS[i] for i in ids))
    detail = Details(run).read(run.lines[0], [0])[0]
    assert detail["advantage"] == {"outcome": -0.5} and detail["rewards"] == {"score": 1}
    assert [t.get("adv") for t in detail["turns"]] == [None, [-0.5, -0.5], None, [-0.5]]
    assert [t.get("cuts") for t in detail["turns"]] == [None, [2, 1], None, [1]]
    assert [t.get("logp") for t in detail["turns"]] == [None, [-0.5, -1.25], None, [0]]


def test_an_episode_that_failed_before_its_first_turn_is_listed_with_its_error(made):
    failed = Trajectory("main.0/rollout/0", Task({"q": "?"}), "solver", "s@0", (), "e", status="error", error="the player left")
    sample = Sample("main.0/rollout/0", (1,), {"train": (9,)}, {"outcome": -0.5})
    spec = "optimizer: {advantage: {outcome: {}}}\n"
    run = made([Row.of(failed)], extra=[("train", (samples_table([sample]), "samples"))], spec=spec)
    (detail,) = browsed(run, Entries(run)).details.values()
    assert (detail["turns"], detail["error"]) == ([], "the player left") and "_tokens" not in detail


def test_tokens_that_spell_the_text_are_cut_where_they_end_and_others_are_not_cut():
    spelled = {(1,): "ab", (2,): "\ufffd", (2, 3): "😀", (4,): "", (5,): "z"}
    assert cuts([1, 2, 3, 4, 5], "ab😀z", lambda ids: spelled[tuple(ids)]) == [2, 0, 2, 0, 1]  # 😀 is two UTF-16 units
    assert cuts([1, 5], "something else", lambda ids: spelled.get(tuple(ids), "?")) is None


def test_a_long_text_is_shown_from_both_ends_and_coloured_at_the_beginning(made):
    text = "a" * (HEAD + TAIL + 5)
    run = made([Row.of(Trajectory("main.0/rollout/0", Task({"q": "?"}), "solver", "s@0", (Turn("policy", text, (1,) * len(text)),), "e"))])
    details = Details(run)
    details._decoders["s"] = lambda ids: "a" * len(ids)
    (turn,) = details.read(run.lines[0], [0])[0]["turns"]
    assert len(turn["text"]) == HEAD and turn["left"] == 5 and len(turn["tail"]) == TAIL
    assert list(accumulate(turn["cuts"]))[-1] == HEAD


def test_a_table_that_is_gone_is_named_and_the_others_are_listed(made):
    run = made([row("main.0/rollout", 0)], [row("main.1/rollout", 0)])
    (run.root / "tables/main.0/rollout.parquet").unlink()
    found = browsed(run, Entries(run))
    assert found.missing == [("tables/main.0/rollout.parquet", "the file is missing")]
    assert [d["id"] for d in found.details.values()] == ["main.1/rollout/0"] and found.index["total"] == 1
