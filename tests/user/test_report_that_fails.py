"""What goes wrong while the report is drawn is told, and does not change how the run ended."""

import os
from pathlib import Path

import pytest
from as_user import BARE, ENVIRONMENT, start

TRAP = """
import importlib.abc, sys

class Gone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "vl_convert":
            raise RuntimeError("no drawing today")

sys.meta_path.insert(0, Gone())
"""


@pytest.mark.slow
def test_a_report_that_cannot_be_made_leaves_the_run_done_and_says_where_to_look(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(TRAP)
    env = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])}
    root = tmp_path / "run"
    process = start("run", *BARE, f"hydra.run.dir={root}", env=env)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "the report could not be made (RuntimeError: no drawing today; see log.txt)" in out + err
    assert "Traceback" in (root / "log.txt").read_text()
    assert out.splitlines()[-1].strip() == f"report: make it with: selfevo report {root}"
