"""Real runs in this process: overrides in, a finished run with its metrics and files out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfevo import spec
from selfevo.commits import read_rows
from selfevo.records import Row, Turn
from selfevo.running import Run, execute


@dataclass
class Finished:
    """A finished run and what it left on disk."""

    run: Run
    root: Path

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl."""
        return [json.loads(line) for line in (self.root / "metrics.jsonl").read_text().splitlines()]

    def metric(self, stage: str, name: str) -> list[float]:
        """A metric of one stage, oldest first. A line without it is an error."""
        return [line["metrics"][name] for line in self.lines if line["stage"] == stage]

    def rows(self, path: str, stage: str) -> list[Row]:
        """Rows that a stage committed."""
        return list(read_rows(self.run.store, path, stage))

    @property
    def policy(self) -> Path:
        """The folder of the newest version of the solver's weights."""
        return sorted(p for p in (self.root / "policies/solver").iterdir() if p.is_dir())[-1]

    def tensors(self, file: str = "model.safetensors") -> Mapping[str, Any]:
        """Its weights in float32."""
        return weights(self.policy / file)


def weights(file: Path) -> dict[str, Any]:
    """Tensors of a safetensors file in float32."""
    from safetensors.torch import load_file

    return {name: tensor.float() for name, tensor in load_file(file).items()}


def log_gaps(folder: Path, turns: Sequence[Turn]) -> Any:
    """Log-probs of all tokens of these turns, by transformers and the weights in a folder, minus those recorded."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    out = []
    for turn in turns:
        ids = torch.tensor([[*turn.context, *turn.tokens]])
        with torch.no_grad():
            logp = model(ids).logits[0, len(turn.context) - 1 : -1].log_softmax(-1)
        out.append(logp.gather(1, torch.tensor(turn.tokens)[:, None])[:, 0] - torch.tensor(turn.logprobs))
    return torch.cat(out)


def gradients(run: Finished, start: Path) -> dict[str, Any]:
    """The gradient of a run's only step, read off the weights before and after.

    With `STEP_IS_GRADIENT` AdamW's first step is -g / (|g| + 1) in each weight, a function of the gradient that can be undone.
    """
    before, after = weights(start / "model.safetensors"), run.tensors()
    moved = {name: before[name] - after[name] for name in before}
    return {name: d / (1 - d.abs()) for name, d in moved.items()}


STEP_IS_GRADIENT = ["optimizer.lr=1.0", "optimizer.adam_eps=1.0", "optimizer.clip_norm=null", "scale.iterations=1"]


def run_in(root: Path, overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Finished:
    """Compose, check and execute in `root`."""
    checked = spec.read(list(overrides), [str(folder) for folder in config_dirs])
    return Finished(execute(checked, root), root)
