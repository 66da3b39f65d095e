"""One run of a TRL trainer that leaves no trace but the trained tensors and what it returns."""

from __future__ import annotations

import copy
import gc
import logging
import math
import os
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from transformers import TrainerCallback

from ..errors import TrainingError, UserError
from ..passes import device_of
from ..policies import copy_model, text_model
from .moments import load_named_state, named_state
from .settings import CONFIGS

LOGGERS = ("trl", "accelerate", "datasets")
LAST = ("num_tokens", "epoch")
"""Counts that go on rising: the last one is kept, not the mean."""
NAMES = {"learning_rate": "lr", "epoch": "epochs"}
CLOCKS = ("step_time",)
LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
"""What a launcher of one process leaves in the environment, from which TRL would start a process group."""


@dataclass(frozen=True)
class Trained:
    """What an update leaves: metrics, steps taken, and the optimizer's state by parameter name."""

    metrics: Mapping[str, float]
    steps: int
    moments: dict[str, dict[str, Any]]


def train(
    kind: str, settings: Mapping[str, Any], model: Any, target: Any, seed: int, where: str,
    make: Callable[[Any, Any, TrainerCallback], Any], moments: Mapping[str, Any] | None,
) -> Trained:  # fmt: skip
    """Train `model`, modules around tensors of `target`, with the trainer that `make(config, model, callback)` builds.

    Raises UserError for settings that TRL refuses, TrainingError when training breaks; the tensors are then what they were.
    """
    device, watch = device_of(target.model), Watch()
    kept = {p: p.detach().to("cpu", copy=True) for p in model.parameters() if p.requires_grad}
    if not kept:
        raise UserError(f"policy '{target.name}' has no parameter that requires a gradient, so there is nothing to train")
    with isolated(seed, device), tempfile.TemporaryDirectory() as folder:
        try:
            with said(UserError, f"{where}: TRL refuses the settings"):
                trainer = make(configured(kind, settings, folder, seed, device), model, watch)
                settle(trainer, moments)
            with said(TrainingError, f"{where}: TRL broke off, the weights are unchanged"):
                trainer.train()
            if watch.bad:
                raise TrainingError(f"{where}: {watch.bad}; the weights are unchanged")
            return Trained(summed(watch.lines), trainer.state.global_step, named_state(trainer.optimizer, model))
        except BaseException:
            with torch.no_grad():
                for p, before in kept.items():
                    p.copy_(before)
            raise
        finally:
            for p in model.parameters():
                p.grad = None
            if device.type == "cuda":
                gc.collect()  # trainers are full of cycles, and hold their optimizer's state until they are found


def configured(kind: str, settings: Mapping[str, Any], folder: str, seed: int, device: torch.device) -> Any:
    """The trainer's config: the settings given, and those that are selfevo's."""
    import trl

    config = getattr(trl, CONFIGS[kind])(
        output_dir=folder, seed=seed, data_seed=seed, use_cpu=device.type == "cpu", report_to="none", disable_tqdm=True,
        log_level="error", logging_strategy="steps", logging_steps=1, logging_nan_inf_filter=False, save_strategy="no",
        eval_strategy="no", remove_unused_columns=False, **settings,
    )  # fmt: skip
    if config.device != device:
        raise ValueError(f"its device is {config.device}, but the policy is on {device}")
    if config.n_gpu > 1:
        config._n_gpu = 1  # the other devices of this machine are not this process's to use
    return config


@contextmanager
def said(kind: type[Exception], what: str) -> Iterator[None]:
    """TRL's own complaints as one line of selfevo's."""
    try:
        yield
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        text = " ".join(str(error).split())
        raise kind(f"{what}: {text[:300] or type(error).__name__}") from error


@contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Generators start from `seed`; what TRL sets for the process (generators, Accelerate's shared state, what is printed) is put back."""
    import datasets
    from accelerate.state import AcceleratorState, GradientState, PartialState

    shared: list[Any] = [cls._shared_state for cls in (PartialState, AcceleratorState, GradientState)]
    states = [dict(s) for s in shared]
    python, numpy = random.getstate(), np.random.get_state()
    verbosity, bars = transformers.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    launched = {name: os.environ.pop(name) for name in LAUNCHED if name in os.environ}
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            transformers.logging.set_verbosity_error()
            datasets.disable_progress_bars()
            for name in LOGGERS:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
    finally:
        os.environ.update(launched)
        for now, before in zip(shared, states, strict=True):
            now.clear()
            now.update(before)
        random.setstate(python)
        np.random.set_state(numpy)
        transformers.logging.set_verbosity(verbosity)
        if not bars:
            datasets.enable_progress_bars()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


# models


def twin(model: Any) -> Any:
    """New modules around the same tensors: what TRL does to modules and config goes with them, what it trains stays."""
    shared = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def reference(target: Any, policy: Any) -> Any:
    """A reference model for TRL from a version: modules of its own, and tensors too where the version is the one being trained."""
    policy.to_transformers()
    return text_model(copy_model(target.model) if policy is target else twin(policy.model)).eval()


# trainers


class Contained:
    """Put before a trainer class of TRL: it tells nobody that it runs, and its optimizer may start with a state."""

    moments: Mapping[str, Any] | None = None

    def _send_telemetry(self) -> None:
        """TRL would tell its makers."""

    def create_optimizer(self, model: Any = None) -> Any:
        """As the trainer makes it, with the moments carried over."""
        optimizer = super().create_optimizer(model)  # type: ignore[misc]
        if self.moments is not None:
            load_named_state(optimizer, self.model, self.moments)  # type: ignore[attr-defined]
            self.moments = None
        return optimizer


class Prepared(Contained):
    """The same, given a data set of token ids where the trainer expects text."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


def joined(first: type, trainer: type) -> Any:
    """The class `trainer` with the methods of `first` before its own."""
    return type(trainer.__name__, (first, trainer), {})


def settle(trainer: Any, moments: Mapping[str, Any] | None) -> None:
    """Nothing is printed, and the optimizer starts from these moments."""
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.moments = moments
    trainer.create_optimizer()


class Watch(TrainerCallback):
    """Keeps the line of every step, and stops at a loss or gradient that is not finite (`bad` says which)."""

    def __init__(self) -> None:
        self.lines: list[dict[str, float]] = []
        self.bad = ""

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """A step's line; the summary at the end has no "loss" and is left out."""
        if not logs or "loss" not in logs:
            return
        self.lines.append({k: float(v) for k, v in logs.items() if isinstance(v, (int, float))})
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)) and not self.bad:
                self.bad = f"{name} is {logs[name]} at step {state.global_step}"
                control.should_training_stop = True


def summed(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Metrics under "train/" from the lines of an update: the mean over steps, of counts the last."""
    out = {}
    for name in dict.fromkeys(n for line in lines for n in line if n not in CLOCKS):
        values = [line[name] for line in lines if name in line]
        out[f"train/{NAMES.get(name, name)}"] = values[-1] if name in LAST else math.fsum(values) / len(values)
    return out
