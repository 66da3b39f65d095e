"""The report of a run: one self-contained HTML page, made from the files of its directory alone."""

from .write import write

__all__ = ["write"]
