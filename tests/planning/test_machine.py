"""This machine, and how described ones are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfevo import spec
from selfevo.errors import UserError
from selfevo.planning import machine
from selfevo.planning.cluster import GIB, Cluster

HAS_DRIVER = Path("/proc/driver/nvidia/gpus").is_dir()


@pytest.mark.parametrize("name, memory, kind", [
    ("NVIDIA H100 80GB HBM3", 79.6, "h100-80g"), ("NVIDIA A100-SXM4-80GB", 80.0, "a100-80g"), ("NVIDIA A100-SXM4-40GB", 40.0, "a100-40g"),
    ("NVIDIA H200", 140.4, "h200-141g"), ("NVIDIA GeForce RTX 4090", 24.0, None), ("NVIDIA H100 NVL", 93.6, None),
])  # fmt: skip
def test_a_drivers_name_and_memory_are_recognised(name, memory, kind):
    assert machine.kind_of(name, memory) == kind


@pytest.mark.skipif(HAS_DRIVER, reason="there is a GPU here")
def test_a_machine_without_a_driver_has_no_gpus_and_its_own_memory():
    found = machine.here()
    assert machine.gpus() == [] and found.gpus == 0 and found.kind is None
    kib = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert found.host_memory * GIB <= 1.01 * kib * 1024
    assert found.memory == found.host_memory


@pytest.mark.parametrize("shown, left", [(None, 4), ("", 0), ("-1", 0), ("0,2", 2), ("3", 1), ("7", 0), ("GPU-aa,GPU-bb", 2)])
def test_only_gpus_that_are_shown_are_counted(shown, left, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CARDS", tmp_path)
    monkeypatch.setattr(machine, "_told_by_driver", lambda: [(f"card {i}", 80.0) for i in range(4)])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert len(machine.gpus()) == left


@pytest.mark.parametrize("settings, said", [
    ({"gpu": "h100"}, "cluster.gpu: no GPU 'h100' is known here; did you mean 'h100-80g'?"),
    ({"gpu": None}, "cluster: give the GPUs' kind (gpu) or their memory in GiB (memory)"),
    ({"nodes": 0}, "cluster: nodes must be at least 1"),
    ({"memory": -1.0}, "cluster.memory must be above 0, not -1.0"),
    ({"reserve": 1.0}, "cluster.reserve must be a share between 0 and 1, not 1.0"),
    ({"decoding": 1.5}, "cluster.decoding must be a share between 0 and 1, not 1.5"),
])  # fmt: skip
def test_a_cluster_that_cannot_be_is_refused(settings, said):
    with pytest.raises(UserError) as error:
        Cluster(**settings)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize("overrides, line", [
    (["cluster=1x9"], "cluster: no choice '1x9'; did you mean '1x8'?"),
    (["cluster=1x8", "cluster.gpus=eight"], "cluster.gpus: expected a whole number, got 'eight'"),
    (["cluster=1x8", "cluster.gpuz=8"], "cluster.gpuz: unknown key; did you mean 'gpu'?"),
    (["cluster=1x8", "cluster.gpu=v100"], "cluster: cluster.gpu: no GPU 'v100' is known here"),
])  # fmt: skip
def test_a_mistake_in_a_specs_cluster_is_a_mistake_of_the_spec(overrides, line):
    with pytest.raises(UserError) as error:
        spec.read(overrides)
    assert str(error.value).startswith(line)


def test_a_kind_may_be_given_by_its_memory_alone():
    other = Cluster(1, 2, None, memory=24.0)
    assert other.room == 24 * GIB * 0.92 and other.kind is None
