"""What an offline run of W&B wrote, read back from its .wandb file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfevo.trackers.wandb_offline import payloads


@dataclass
class Written:
    """One offline run. `history`: (step, {name: value}); `metrics`: {name or glob: what it is drawn over}."""

    folder: Path
    id: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    metrics: dict[str, str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    def table(self, name: str, step: int) -> list[dict[str, Any]]:
        """Rows of a table that was logged under a name at a step."""
        (told,) = [row[name] for at, row in self.history if at == step and name in row]
        body = json.loads((self.folder / "files" / told["path"]).read_text())
        return [dict(zip(body["columns"], row, strict=True)) for row in body["data"]]


def written(root: Path) -> list[Written]:
    """Every offline run below a run directory, oldest first."""
    from wandb.proto import wandb_internal_pb2 as pb

    out = []
    for file in sorted(root.glob("wandb/offline-run-*/*.wandb")):
        run = Written(file.parent)
        for payload in payloads(file):
            record = pb.Record()
            record.ParseFromString(payload)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run.id = record.run.run_id
                run.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "history":
                row = _nested(record.history.item)
                run.history.append((int(row.pop("_step")), row))
            elif kind == "metric":
                run.metrics[record.metric.name or record.metric.glob_name] = record.metric.step_metric
            elif kind == "summary":
                run.summary |= _nested(record.summary.update)
            elif kind == "exit":
                run.exit_code = record.exit.exit_code
        out.append(run)
    return out


def _nested(items: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for item in items:
        *above, last = item.nested_key or [item.key]
        at = out
        for key in above:
            at = at.setdefault(key, {})
        at[last] = json.loads(item.value_json)
    return out
