"""The performance page is what its generator makes of the committed figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.figures import Figure, exponent

RESULTS = Path(page.HERE / "results.json")


def test_the_page_is_generated_from_the_figures():
    assert page.PAGE.read_text() == page.render(json.loads(RESULTS.read_text()))


def test_figures_hold_no_place_of_the_machine_they_were_measured_on():
    assert not re.findall(r"[\s\"'=](/\w+/[^\s\"]*)", RESULTS.read_text())


def test_a_line_says_whether_its_aim_is_met_and_notes_stand_once():
    lines = [
        Figure("t", "fast", "peer", 3.0, 2.5, 3.5, 0.02, 2.0, aim=2.5, repeats=3, note="why"),
        Figure("t", "late", "limit", 1.5, 1.4, 1.6, aim=1.35, better="lower", note="why"),
        Figure("t", "absent", "peer", None, aim=4.0),
        Figure("t", "alone", "", None, ours=0.5),
    ]
    rows = page.table([f.to_json() for f in lines]).splitlines()
    assert rows[2] == "| fast (1) | peer | 3 | 2.5 to 3.5 | at least 2.5 | yes | 20 ms | 2 s |"
    assert rows[3] == "| late (1) | limit | 1.5 | 1.4 to 1.6 | at most 1.35 | **no** |  |  |"
    assert rows[4] == "| absent | peer | not measured |  | at least 4 |  |  |  |"
    assert rows[5] == "| alone |  |  |  |  |  | 0.5 s |  |"
    assert rows[6:] == ["", "1. why."]


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_is_that_power(power):
    sizes = [2, 4, 8, 32]
    assert exponent(sizes, [3.0 * s**power for s in sizes]) == pytest.approx(power)
