"""What is shipped: the wheel holds the configs and the bundled policy, and make setup has nothing to do twice."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_wheel_holds_every_config_and_asset(tmp_path: Path) -> None:
    if importlib.util.find_spec("hatchling") is None or importlib.util.find_spec("build") is None:
        pytest.skip("hatchling and build are not installed")
    make = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path), str(REPO)]
    subprocess.run(make, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"selfevo/configs/{p.relative_to(REPO / 'configs')}" for p in (REPO / "configs").rglob("*.yaml")}
    assets = {str(p.relative_to(REPO)) for p in (REPO / "selfevo" / "assets").rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert configs | assets <= names
    assert "hydra_plugins/selfevo_sweeps/plugins.py" in names  # Hydra finds launchers by where they lie
    assert not [n for n in names if n.startswith(("tests/", "configs/"))]


def test_make_lists_its_targets_with_what_they_do() -> None:
    out = subprocess.run(["make", "help"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in out.splitlines()} >= {"setup", "quickstart", "test", "lint"}


def test_requirements_that_are_not_met_are_named() -> None:
    sys.path.insert(0, str(REPO / "scripts"))
    try:
        from satisfied import missing
    finally:
        sys.path.pop(0)
    project = {"name": "p", "dependencies": ["pytest", "pytest<1"], "optional-dependencies": {"a": ["p[b]"], "b": ["no-such-thing-here"]}}
    assert missing([], project) == ["pytest<1"]
    assert missing(["a"], project) == ["pytest<1", "no-such-thing-here"]
