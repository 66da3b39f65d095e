"""Memory that a run frees and asks for again stays with the process; where policies are large or elsewhere, nothing is changed."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from selfevo.freed import SMALL, keep_freed_memory

COUNT = """
import resource, sys, torch
from types import SimpleNamespace
from selfevo.freed import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory([SimpleNamespace(model=torch.nn.Linear(4, 4))])
sizes = [10_000_000, 12_000_000]
def use():
    for size in sizes:
        torch.ones(size)
for _ in range(8):  # the heap finds its size
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_blocks_that_are_asked_for_again_cost_no_page_faults():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True).stdout)
        for how in ("kept", "given back")
    }
    assert faults["given back"] > 10 * 22_000_000 * 4 // 4096 // 2  # half of the pages of ten rounds, as some may be huge
    assert faults["kept"] < faults["given back"] / 20


def test_large_policies_and_those_elsewhere_change_nothing():
    large = SimpleNamespace(parameters=lambda: [torch.empty(SMALL + 1, device="meta")])
    elsewhere = SimpleNamespace(parameters=lambda: [torch.empty(4, device="meta")])
    for model in (None, large, elsewhere):
        assert not keep_freed_memory([SimpleNamespace(model=model)])
