"""A reproduction's result as a small JSON file: what was compared, every seed's numbers, on what, with which settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..report.read import RunData
from .effect import Effect, Pair, Side, effect
from .plan import Plan

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "ledger"
"""Results that come with the package: one file for each method."""


@dataclass(frozen=True)
class Record:
    """A result. `settings` is the digest of both specs when it was measured, `environment` what it was measured with."""

    id: str
    experiment: str
    metric: str
    better: str
    cost: str
    baseline: str
    pairs: tuple[Pair, ...]
    effect: Effect
    settings: str
    environment: Mapping[str, Any]


def record(plan: Plan, pairs: Sequence[Pair], run: RunData) -> Record:
    """The result of these pairs; `run` tells what they ran on."""
    block, seen = plan.block, run.environment
    versions = seen.get("packages") or {}
    environment = {"date": date.today().isoformat(), **{k: seen.get(k) for k in ("commit", "processor", "cores", "threads")}}
    environment |= {name: versions.get(name) for name in ("torch", "transformers")}
    return Record(
        plan.id, plan.experiment, block.metric, block.better, block.cost, block.baseline.name, tuple(pairs),
        effect(pairs, block.better), plan.settings, {k: v for k, v in environment.items() if v is not None},
    )  # fmt: skip


def write(result: Record, folder: Path = FOLDER) -> Path:
    """Write it as <id>.json; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{result.id.replace('/', '-')}.json"
    file.write_text(json.dumps(asdict(result), indent=1) + "\n")
    return file


def read_all(folder: Path = FOLDER) -> dict[str, Record]:
    """{id: result}. Raises UserError for a file that is no result."""
    out = {}
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            data = json.loads(file.read_text())
            pairs = tuple(Pair(p["seed"], p["at"], _side(p["method"]), _side(p["baseline"])) for p in data.pop("pairs"))
            result = Record(**{**data, "pairs": pairs, "effect": Effect(**data["effect"])})
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{file}: not a reproduction's result ({type(error).__name__}: {error})") from error
        out[result.id] = result
    return out


def _side(data: dict[str, Any]) -> Side:
    return Side(**{**data, "curve": tuple((t, v) for t, v in data["curve"])})
