"""selfevo: self-evolution experiments on language models, run from YAML. Importing this package imports no torch.

From Python: `run` starts an experiment, `load_run` reads what it left, `resume` goes on with it, `load_runs` reads a sweep.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .notebook import SavedRun, SavedRuns, load_run, load_runs, resume, run

__version__ = "0.1.0"

__all__ = ["SavedRun", "SavedRuns", "__version__", "load_run", "load_runs", "resume", "run"]


def __getattr__(name: str) -> Any:
    """What notebooks use, imported when it is first asked for: the command line never pays for it."""
    if name in __all__:
        from . import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Everything there, asked for or not."""
    return sorted({*globals(), *__all__})
