"""An optimizer's state by parameter name, so that it fits whatever modules stand around the parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch


def _names(optimizer: Any, model: Any) -> list[str]:
    """Parameter names in the order in which torch numbers an optimizer's state."""
    names = {id(p): n for n, p in model.named_parameters()}
    return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]


def named_state(optimizer: Any, model: Any) -> dict[str, dict[str, Any]]:
    """The optimizer's state by parameter name, tensors copied to the CPU."""
    names = _names(optimizer, model)
    state = optimizer.state_dict()["state"]
    return {names[i]: {k: _copied(v) for k, v in values.items()} for i, values in state.items()}


def load_named_state(optimizer: Any, model: Any, moments: Mapping[str, Mapping[str, Any]]) -> None:
    """Give it back. Raises ValueError for moments of parameters that are not trained, or of another shape."""
    names, params = _names(optimizer, model), dict(model.named_parameters())
    for name, values in moments.items():
        if name not in names:
            raise ValueError(f"the saved optimizer state is of '{name}', which is not trained")
        for value in values.values():
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != params[name].shape:
                raise ValueError(f"the saved optimizer state of '{name}' has shape {tuple(value.shape)}")
    held = optimizer.state_dict()
    held["state"] = {i: {k: _copied(v) for k, v in moments[n].items()} for i, n in enumerate(names) if n in moments}
    optimizer.load_state_dict(held)


def _copied(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else copy.deepcopy(value)
