"""pandas, which only notebooks need."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import UserError


def pandas() -> Any:
    """The pandas module. Raises UserError that names the extra to install."""
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise UserError("DataFrames need the package pandas: pip install 'selfevo[notebook]' (`arrow` and `batches` do without)") from error
