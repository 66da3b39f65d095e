"""`import selfevo` costs the command line nothing, and editors still see what it offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import selfevo
from selfevo.errors import UserError

NAMES = {"SavedRun", "SavedRuns", "load_run", "load_runs", "resume", "run"}
HEAVY = ("torch", "pandas", "pyarrow", "numpy", "transformers", "hydra", "omegaconf", "yaml", "rich", "asyncio", "selfevo.notebook")


def imported(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", f"{code}\nimport sys; print(*(m for m in {HEAVY} if m in sys.modules))"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import selfevo", "import selfevo; dir(selfevo)", "import selfevo.cli; selfevo.cli.usage()"])
def test_importing_the_package_imports_nothing_heavy(code: str) -> None:
    assert imported(code) == set()


def test_the_functions_come_without_torch_or_pandas() -> None:
    assert not imported("from selfevo import load_run, load_runs, resume, run") & {"torch", "pandas", "transformers", "pyarrow", "hydra"}


def test_loading_a_run_imports_neither_torch_nor_pandas(bare: selfevo.SavedRun) -> None:
    code = f"import selfevo; r = selfevo.load_run({str(bare.root)!r}); repr(r); r._repr_html_(); r.lineages"
    assert not imported(code) & {"torch", "pandas", "transformers", "hydra"}


def test_every_name_is_there_and_others_are_not() -> None:
    assert set(dir(selfevo)) >= NAMES and set(selfevo.__all__) >= NAMES
    assert callable(selfevo.run) and selfevo.run.__module__ == "selfevo.notebook.start"
    with pytest.raises(AttributeError, match="module 'selfevo' has no attribute 'rum'"):
        selfevo.rum  # type: ignore[attr-defined]  # noqa: B018


def test_without_pandas_frames_say_what_to_install_and_arrow_goes_on(bare: selfevo.SavedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)  # what the import system does for a missing package
    run = selfevo.load_run(bare.root)
    for frame in (lambda: run.metrics, lambda: run.trajectories(), lambda: run.turns(), lambda: run.versions, lambda: run.scores()):
        with pytest.raises(UserError, match=r"DataFrames need the package pandas: pip install 'selfevo\[notebook\]'"):
            frame()
    assert run.arrow("rollout").num_rows > 0 and "pass@1" in repr(run)
