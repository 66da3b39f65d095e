"""What the manifest does not vouch for does not count, and nothing is lost when the disk fills or a process dies."""

import json
import os
import shutil
import subprocess
import sys

import pyarrow as pa
import pytest

from selfevo.errors import EXIT_STOPPED, StoreError, UserError
from selfevo.store import RunDir


@pytest.fixture
def store(tmp_path):
    made = RunDir.create(tmp_path / "run", "name: x\n", {"python": "3"}, "")
    yield made
    made.close()


def commit(store, path, stage, value=1):
    name = f"tables/{path}/{stage}.parquet"
    sha = store.write_table(name, [pa.table({"x": [value]})])
    line = {"path": path, "stage": stage, "kind": "rollout", "iteration": 0, "versions": {}, "seconds": 0.0, "metrics": {"m": value}}
    store.commit({"path": path, "stage": stage, "outputs": {name: sha}}, line)
    return name


def test_a_reopened_directory_holds_what_was_committed(store):
    name = commit(store, "main.0", "rollout", 7)
    store.close()
    again = RunDir.open(store.root)
    assert again.entry("main.0", "rollout") == store.entry("main.0", "rollout")
    assert again.read_table(name).to_pylist() == [{"x": 7}]
    assert [m["metrics"] for m in again.metrics()] == [{"m": 7}]
    again.close()


def test_a_torn_manifest_line_and_its_metrics_line_are_cut_off(store):
    commit(store, "main.0", "rollout")
    commit(store, "main.1", "rollout")
    store.close()
    manifest = store.root / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])  # as a kill in the middle of the append leaves it
    again = RunDir.open(store.root)
    assert again.entry("main.1", "rollout") is None and again.entry("main.0", "rollout") is not None
    assert [m["path"] for m in again.metrics()] == ["main.0"]
    commit(again, "main.1", "rollout", 5)
    assert [m["metrics"]["m"] for m in again.metrics()] == [1, 5]
    again.close()


def test_a_file_without_a_manifest_line_is_not_read(store):
    store.write_table("tables/main.0/rollout.parquet", [pa.table({"x": [1]})])
    with pytest.raises(StoreError, match=r"no commit in manifest.jsonl wrote this file"):
        store.read_table("tables/main.0/rollout.parquet")


def test_a_corrupt_table_is_named_with_the_recorded_hash(store):
    name = commit(store, "main.0", "rollout")
    sha = store.entry("main.0", "rollout")["outputs"][name]
    file = store.root / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(StoreError) as error:
        store.read_table(name)
    assert str(file) in str(error.value) and sha in str(error.value) and "\n" not in str(error.value)
    file.unlink()
    with pytest.raises(StoreError, match="missing"):
        store.read_table(name)


def test_a_broken_line_inside_the_manifest_is_corruption_not_a_torn_end(store):
    commit(store, "main.0", "rollout")
    store.close()
    manifest = store.root / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(lines[0] + b"{garbage\n" + lines[1])
    with pytest.raises(StoreError, match=r"manifest.jsonl:2: corrupt line"):
        RunDir.open(store.root)


def test_a_changed_spec_is_refused(store):
    store.close()
    (store.root / "spec.yaml").write_text("name: y\n")
    with pytest.raises(StoreError, match="differs from the spec this run was started with"):
        RunDir.open(store.root)


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        RunDir.open(tmp_path)


def test_two_processes_cannot_write_one_directory(store):
    code = f"from selfevo.store import RunDir; from pathlib import Path; RunDir.open(Path({str(store.root)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "another process is running in this directory" in done.stderr


def test_a_folder_is_replaced_whole(store):
    store.write_folder("policies/p/000001", lambda d: (d / "old.txt").write_text("a"))
    shas = store.write_folder("policies/p/000001", lambda d: (d / "new.txt").write_text("b"))
    assert list(shas) == ["policies/p/000001/new.txt"]
    assert [p.name for p in (store.root / "policies/p/000001").iterdir()] == ["new.txt"]


FILL = """
import sys
from pathlib import Path
import pyarrow as pa
from selfevo.errors import SelfevoError
from selfevo.store import RunDir
root = Path(sys.argv[1]) / "run"
store = RunDir.create(root, "name: x\\n", {}, "")
try:
    for i in range(1000):
        name = f"tables/main.{i}/rollout.parquet"
        sha = store.write_table(name, [pa.table({"x": list(range(2000))})])
        store.commit({"path": f"main.{i}", "stage": "rollout", "outputs": {name: sha}})
except SelfevoError as error:
    print(error)
    store.close()
    again = RunDir.open(root) if len(sys.argv) > 2 else None
    sys.exit(error.exit_code)
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (util-linux) for a small disk of its own")
def test_a_full_disk_stops_at_the_last_commit_and_says_how_to_go_on(tmp_path):
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    script = tmp_path / "fill.py"
    script.write_text(FILL)
    fill = f"{sys.executable} {script} {disk}; status=$?; cp -r {disk}/run {kept}; exit $status"
    shell = f"mount -t tmpfs -o size=400k tmpfs {disk} && {{ {fill}; }}"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", shell], capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no private mount here: {done.stderr.strip()}")
    assert done.returncode == EXIT_STOPPED, done.stderr
    assert "no space left on the disk" in done.stdout and "selfevo resume" in done.stdout and done.stdout.count("\n") == 1
    again = RunDir.open(kept)
    commits = [e for e in again.manifest if e["stage"] == "rollout"]
    assert commits and json.dumps(commits)  # what was committed is whole and vouched for
    for entry in commits:
        for name in entry["outputs"]:
            assert again.read_table(name).num_rows == 2000
    again.close()
