"""A table is written and read by batches: what it holds, its bytes and its hash do not depend on that, and memory does not grow with it."""

import copy
import hashlib
import math
import struct
import weakref

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfevo.errors import StoreError
from selfevo.hashing import Hashing
from selfevo.records import Row, Sample, Task, Trajectory, Turn
from selfevo.store import RunDir
from selfevo.tables import (
    batches,
    join,
    recalling,
    rows_from,
    rows_table,
    samples_from,
    samples_table,
    scan,
    scores_table,
    trajectories_from,
    write,
)

SINGLE = tuple(struct.unpack("5f", struct.pack("5f", -0.1, -1e-30, -0.0, 0.0, -3.3895e38)))
"""What engines give."""
DOUBLE = (1 / 3, -math.pi, 5e-324, -1.7976931348623157e308, float("-inf"))
"""Not representable as float32."""


def row(i, logprobs=SINGLE, source="main.0/rollout"):
    task = Task({"question": f"{i // 4}+1"}, str(i // 4 + 1))
    turn = Turn("policy", f"it is {i}", tuple(range(i, i + 5)), logprobs, (7, 8, i // 4), "solver@000001", 0.7, "stop")
    t = Trajectory(f"{source}/{i:05d}.0", task, "solver", "solver@000001", (turn,), f"{source}/{i:05d}", {"group": str(i // 4)})
    return Row.of(t).rewarded("score", i / 7)


def bits(some):
    return [struct.pack(f"{len(turn.logprobs)}d", *turn.logprobs) for r in some for turn in r.trajectory.turns]


@pytest.mark.parametrize("logprobs", [SINGLE, DOUBLE])
def test_log_probs_come_back_bit_for_bit_whether_float32_holds_them_or_not(logprobs, tmp_path):
    some = [row(i, logprobs) for i in range(9)]
    write(tmp_path / "t.parquet", [rows_table(some, judged=True)])
    back = [r for batch in scan(tmp_path / "t.parquet") for r in rows_from(batch)]
    assert bits(back) == bits(some)


def test_float32_values_take_no_more_room_in_their_column_of_doubles():
    import numpy as np

    values = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    table = samples_table([Sample("s", (0,) * 20_000, {"train": ()}, {"logp:sampler": tuple(values.tolist())})])
    out = pa.BufferOutputStream()
    write(out, [table])
    chunks = pq.ParquetFile(pa.BufferReader(out.getvalue())).metadata.row_group(0)
    sizes = {chunks.column(i).path_in_schema: chunks.column(i).total_compressed_size for i in range(chunks.num_columns)}
    assert sizes["arrays.key_value.value.list.element"] < 4 * 20_000


def test_equal_rows_give_equal_bytes_however_their_objects_are_shared(tmp_path):
    shared = [row(i) for i in range(20)]
    task = shared[0].trajectory.task
    apart = [copy.deepcopy(r) for r in shared]
    assert apart[1].trajectory.task is not task
    files = []
    for name, some in (("a", shared), ("b", apart), ("c", (r for r in shared))):
        write(tmp_path / name, (rows_table(part, judged=True) for part in batches(some, rows=6)))
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1] == files[2]


def test_a_row_group_is_all_that_is_read_ahead_of_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr("selfevo.tables.parquet.GROUP", 2)
    read, seen = 0, []

    def source():
        nonlocal read
        for i in range(22):
            read += 1
            yield row(i)

    def parts(file):
        for part in batches(source(), rows=4):
            seen.append((read, file.tell()))
            yield rows_table(part, judged=True)

    with (tmp_path / "t.parquet").open("wb") as raw:
        file = Hashing(raw)
        write(file, parts(file))
    assert [n for n, _ in seen] == [5, 9, 13, 17, 21, 22]  # a batch and the record that showed it was full
    sizes = [size for _, size in seen]
    assert sizes[0::2] == sizes[1::2] and len(set(sizes)) == 3  # two batches, then they are written before the next is asked for
    groups = pq.ParquetFile(tmp_path / "t.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [8, 8, 6]


def test_long_records_make_short_batches_and_none_makes_one_empty_batch():
    assert [len(b) for b in batches([row(i) for i in range(6)], units=250)] == [2, 2, 2]
    assert [len(b) for b in batches([row(i) for i in range(3)], units=1)] == [1, 1, 1]  # a record longer than a batch is one
    assert list(batches([])) == [[]]
    assert rows_from(rows_table([], judged=False)) == []
    with pytest.raises(ValueError, match="at least one table"):
        write(pa.BufferOutputStream(), [])


@pytest.fixture
def store(tmp_path):
    made = RunDir.create(tmp_path / "run", "name: x\n", {}, "")
    yield made
    made.close()


def test_the_hash_of_what_was_written_is_that_of_the_file(store):
    sha = store.write_table("tables/t.parquet", (rows_table(part, True) for part in batches([row(i) for i in range(9)], rows=2)))
    assert sha == hashlib.sha256((store.root / "tables/t.parquet").read_bytes()).hexdigest()
    sha = store.write("state/x.bin", lambda f: [f.write(b"ab"), f.write(memoryview(b"c")), f.flush()])
    assert sha == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(StoreError, match="cannot write"):
        store.write("state/x.bin", lambda f: f.seek(0))  # what is hashed is written once, from end to end


def test_a_scan_checks_the_hash_before_its_first_batch(store):
    sha = store.write_table("tables/t.parquet", [rows_table([row(0)], True)])
    store.commit({"path": "main.0", "stage": "rollout", "outputs": {"tables/t.parquet": "0" + sha[1:] if sha[0] != "0" else "1" + sha[1:]}})
    with pytest.raises(StoreError, match="corrupt"):
        store.scan_table("tables/t.parquet")


def test_a_table_of_one_large_row_group_is_read_in_parts(tmp_path, monkeypatch):
    some = [row(i) for i in range(10)]
    pq.write_table(rows_table(some, judged=True), tmp_path / "old.parquet", compression="zstd")  # as earlier versions wrote it
    monkeypatch.setattr("selfevo.tables.parquet.ROWS", 3)
    parts = [rows_from(batch) for batch in scan(tmp_path / "old.parquet")]
    assert max(map(len, parts)) == 3 and [r for part in parts for r in part] == some
    monkeypatch.setattr("selfevo.tables.parquet.BYTES", 1)
    assert [batch.num_rows for batch in scan(tmp_path / "old.parquet")] == [1] * 10  # rows that are long come fewer at a time


def opened(tables, passes):
    """Reads {source: rows} by batches of two, counting passes."""

    def open_(source):
        passes.append(source)
        return (trajectories_from(rows_table(part, judged=False)) for part in batches(tables[source], rows=2))

    return open_


@pytest.mark.parametrize("size", [1, 2, 100])
def test_scores_find_their_trajectories_in_several_tables_in_one_pass_over_each(size):
    tables = {s: [row(i, source=s) for i in range(7)] for s in ("main.0/rollout", "main.1/rollout")}
    judged = [r for s in tables for r in tables[s] if int(r.trajectory.episode[-1]) % 3 != 1]  # some were filtered out
    passes = []
    parts = [scores_table(part, {r.trajectory.id: r.trajectory.id.rpartition("/")[0] for r in part}) for part in batches(judged, rows=size)]
    found = [r for part in join((b for t in parts for b in t.to_batches()), opened(tables, passes)) for r in part]
    assert found == judged and passes == list(tables)


def test_scores_in_another_order_than_their_table_find_theirs_too_and_a_lost_one_is_named():
    rows = [row(i) for i in range(7)]
    backwards = rows[::-1]
    source = {r.trajectory.id: "main.0/rollout" for r in rows}
    parts = [b for part in batches(backwards, rows=2) for b in scores_table(part, source).to_batches()]
    assert [r for part in join(parts, opened({"main.0/rollout": rows}, [])) for r in part] == backwards
    with pytest.raises(StoreError, match=r"tables/main.0/rollout.parquet: holds no trajectory 'main.0/rollout/00006.0'"):
        list(join(parts, opened({"main.0/rollout": rows[:-1]}, [])))


def test_samples_survive_a_file_wherever_their_batches_end(tmp_path):
    some = [Sample(str(i), (i, 2), {"train": (1,) * i}, {"mask": (1.0, 0.0), "advantage": i / 3}, unit="u") for i in range(5)]
    write(tmp_path / "s.parquet", (samples_table(part) for part in batches(some, rows=2)))
    assert [s for batch in scan(tmp_path / "s.parquet") for s in samples_from(batch)] == some


class Part(list):
    """A list that can be watched."""


def test_neither_a_part_nor_its_records_are_held_while_the_next_part_is_read():
    watched, alive = [], []

    def parts():
        for start in range(0, 12, 4):
            alive.append([w() is not None for w in watched])
            held = rows_table([row(i) for i in range(start, start + 4)], judged=True).to_batches()
            watched.append(weakref.ref(held[0]))
            yield held.pop()

    def read(batch, tasks):
        made = Part(rows_from(batch, tasks))
        watched.append(weakref.ref(made))
        return made

    found = sum(map(len, recalling(read, parts())))
    assert found == 12
    assert alive == [[], [False] * 2, [False] * 4]
