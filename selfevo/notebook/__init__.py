"""Runs from Python: start one, and read what it left as pandas, Arrow and transformers objects. Importing this package imports neither."""

from .load import load_run, load_runs
from .saved import SavedRun
from .several import SavedRuns
from .start import resume, run

__all__ = ["SavedRun", "SavedRuns", "load_run", "load_runs", "resume", "run"]
