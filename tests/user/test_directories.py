"""Run directories as a user meets them: in use, finished, altered, full, or not a run at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from as_user import BARE, ENVIRONMENT, TINY, Held, Said, metrics

from selfevo.store import file_sha

Say = Callable[..., Said]


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy of the undisturbed run that a test may spoil; its end is not yet committed."""
    root = tmp_path / "copy"
    shutil.copytree(whole, root)
    manifest = root / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    assert '"stage": "end"' in lines[-1]
    manifest.write_text("".join(lines[:-1]))
    return root


def test_a_directory_in_use_is_left_to_the_process_that_has_it(say: Say, held: Held) -> None:
    said = say("resume", str(held.root))
    assert (said.status, said.line) == (2, f"{held.root}: another process is running in this directory; wait for its end, or stop it first")
    said = say("run", *BARE, f"hydra.run.dir={held.root}")
    assert said.status == 2
    assert said.line.startswith(f"{held.root}: the run directory already exists and is not empty")
    held.release()
    assert held.ended().status == 0


def test_a_finished_run_is_left_as_it_is_in_one_friendly_line(say: Say, whole: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (whole / "tables").rglob("*.parquet")}
    said = say("resume", str(whole))
    assert (said.status, said.err) == (0, "")
    assert said.out == f"{whole}: this run is finished, there is nothing to resume (its report: {whole / 'report.html'})\n"
    assert {p: p.stat().st_mtime_ns for p in (whole / "tables").rglob("*.parquet")} == before


@pytest.mark.parametrize("make", ["nothing", "folder", "file"])
def test_what_is_no_run_directory_cannot_be_resumed(say: Say, tmp_path: Path, make: str) -> None:
    place = tmp_path / "place"
    if make == "folder":
        place.mkdir()
    if make == "file":
        place.write_text("text")
    said = say("resume", str(place))
    assert said.status == 2
    assert said.line.startswith(f"{place}: not a run directory (it has no spec.yaml)")


def test_a_corrupt_table_is_named_with_its_recorded_hash(say: Say, copy: Path) -> None:
    table = copy / "tables" / "main.1" / "score.parquet"
    recorded = file_sha(table)
    table.write_bytes(table.read_bytes()[:-9] + b"corrupted")
    (copy / "manifest.jsonl").write_text("".join((copy / "manifest.jsonl").read_text().splitlines(keepends=True)[:-3]))
    said = say("resume", str(copy))
    assert said.status == 1
    assert said.line == f"{table}: corrupt; the manifest recorded sha256 {recorded}, the file has {file_sha(table)}"


def test_weights_that_are_not_what_was_recorded_are_refused(say: Say, copy: Path) -> None:
    file = copy / "policies" / "solver" / "000002" / "model.safetensors"
    recorded = file_sha(file)
    with file.open("r+b") as data:
        data.truncate(100)
    said = say("resume", str(copy))
    assert said.status == 1
    assert said.line.startswith(f"{file}: corrupt; the manifest recorded sha256 {recorded}")


def test_a_directory_of_another_spec_is_refused(say: Say, copy: Path) -> None:
    spec = copy / "spec.yaml"
    spec.write_text(spec.read_text().replace("seed: 0", "seed: 1", 1))
    before = metrics(copy)
    said = say("resume", str(copy))
    assert said.status == 1
    assert said.line.startswith(f"{spec}: differs from the spec this run was started with (recorded sha256 ")
    assert said.line.endswith("put the old one back, or start a new run to change it")
    assert metrics(copy) == before


@pytest.mark.slow
def test_weights_that_diverge_end_the_run_with_the_last_good_version_on_disk(say: Say, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    root = tmp_path / "run"
    said = say("run", *TINY, "optimizer.objective.bonus.coef={linear: [0.01, 1e39]}", f"hydra.run.dir={root}")
    assert said.status == 1
    assert said.line.startswith("main.1: the ") and "not finite" in said.line and "main.1/rollout/00000-00000.0" in said.line
    assert said.line.endswith("; the weights are unchanged; a new run may want a lower lr or clip_norm")
    kept = load_file(root / "policies" / "solver" / "000001" / "model.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in kept.values())
    again = say("resume", str(root))  # the same numbers meet the same end: it says so again, and nothing is lost
    assert (again.status, again.line) == (1, said.line)
    assert "(a change of the spec needs a new run)" in again.out


FULL = """
mount -t tmpfs -o size=600k tmpfs {disk} || {{ echo no private mount; exit 99; }}
{python} -m selfevo run {words} > {disk}.out; echo "status $?"
mount -o remount,size=40m {disk}
{python} -m selfevo resume {disk}/run > {disk}.more; echo "status $?"
cp {disk}/run/metrics.jsonl {disk}.metrics
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (util-linux) for a small disk of its own")
def test_a_full_disk_stops_a_real_run_that_ends_once_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    words = " ".join(f'"{word}"' for word in [*BARE, "scale.iterations=60", f"hydra.run.dir={disk / 'run'}"])
    script = FULL.format(disk=disk, python=sys.executable, words=words)
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    if "unshare" in done.stderr or "no private mount" in done.stdout:
        pytest.skip(f"no private mount here: {done.stderr.strip()}")
    assert done.stdout.split("\n")[:2] == ["status 3", "status 0"], done.stderr
    assert done.stderr.count("\n") == 1 and "no space left on the disk; free some, then: selfevo resume" in done.stderr
    assert f"continue with: selfevo resume {os.fspath(disk / 'run')}" in Path(f"{disk}.out").read_text()
    assert Path(f"{disk}.metrics").read_text().count("\n") == 1 + 60 * 3  # every stage once
