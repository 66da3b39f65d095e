"""Where the configs that come with the package are. Apart from `spec`, so that listing them loads nothing else."""

from __future__ import annotations

from pathlib import Path


def configs() -> Path:
    """The packaged configs: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"
