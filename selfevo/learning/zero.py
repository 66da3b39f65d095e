"""The trainable tensors of a policy divided among ranks by DeepSpeed ZeRO (Rajbhandari et al. 2020); the surface of `weights.Weights`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..policies import is_adapted
from ..ranks import Ranks
from .weights import groups_of, trainable

SMALLEST_BUCKET, LARGEST_BUCKET = 1 << 16, 1 << 27
"""Bounds of the gradients (elements) that are reduced together, a sixteenth of the model between them: buffers beside what is divided."""
LARGEST_WHOLE = 100_000
"""Stage 3 leaves tensors of at most so many elements whole (norms, say), if they are no more than a thousandth of the model."""


class ZeroWeights:
    """AdamW whose state (stage 1), gradients (2) and weights (3) are divided among the ranks.

    Stages 1 and 2 train the policy's own tensors, which every rank holds whole. In stage 3 a twin of the model is divided, and the
    policy's own model is what it is handed over to after every step: engines, checkpoints and forks find plain weights there. While
    gradients are made its memory is given back (`release`).
    DeepSpeed averages gradients over ranks where the learner wants their sum, so the loss is multiplied by the number of ranks.
    Gradients are reduced inside backward passes, so every rank makes as many (`lockstep`).
    State goes out and in whole and by parameter name, in the format of `Weights`: a checkpoint of n ranks resumes on any number.
    """

    lockstep = True

    def __init__(self, target: Any, betas: tuple[float, float], eps: float, weight_decay: float, ranks: Ranks):
        assert ranks.zero is not None
        self.ranks, self.zero, self.target = ranks, ranks.zero, target.to_transformers()
        self.divided = self.zero.stage == 3
        self._check()
        self.params = trainable(target)  # in stage 3 what is handed over to
        model = copy.deepcopy(target.model) if self.divided else target.model
        twins = {f"model.{n}": p for n, p in model.named_parameters()}
        self.shared: dict[str, nn.Parameter] = {n: twins.get(n, p) for n, p in self.params.items()}
        self.engine = self._engine(model, torch.optim.AdamW(groups_of(self.shared, weight_decay), lr=0.0, betas=betas, eps=eps))
        self.module: Any = self.engine if self.divided else target.model
        self.tensors: Mapping[str, Tensor] = self.params
        self.steps = 0
        self._released = False
        self._start_moments()

    def _check(self) -> None:
        if is_adapted(self.target.model):
            raise UserError("launcher.zero: adapters are small enough for every rank: use zero: 0 with a LoRA policy")
        if self.divided and self.target.heads:
            raise UserError("launcher.zero: stage 3 divides the model alone; a policy with a value head needs stage 0, 1 or 2")
        dtypes = {p.dtype for p in self.target.model.parameters()}
        if dtypes - {torch.float32, torch.bfloat16} or len(dtypes) > 1:
            raise UserError(f"launcher.zero: DeepSpeed trains float32 or bfloat16 policies, not {', '.join(sorted(map(str, dtypes)))}")
        self.half = dtypes == {torch.bfloat16}

    def _engine(self, model: Any, adam: torch.optim.Optimizer) -> Any:
        import deepspeed

        assert self.ranks.accelerator is not None  # the processes have joined
        offload = {"device": "cpu"}
        numel = sum(p.numel() for p in self.params.values())
        settings = {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,  # the learner says when a step is whole
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "bf16": {"enabled": self.half},
            "data_types": {"grad_accum_dtype": "fp32"},
            "communication_data_type": "fp32",
            "zero_optimization": {
                "stage": self.zero.stage,
                "overlap_comm": False,
                "stage3_param_persistence_threshold": min(LARGEST_WHOLE, numel // 1000),
                "reduce_bucket_size": min(LARGEST_BUCKET, max(SMALLEST_BUCKET, numel // 16)),
                **({"offload_optimizer": offload} if self.zero.offload != "none" else {}),
                **({"offload_param": offload} if self.zero.offload == "all" else {}),
            },
        }
        with _quiet():
            return deepspeed.initialize(model=model, optimizer=adam, config=settings, dist_init_required=False)[0]

    @property
    def _adam(self) -> torch.optim.Optimizer:
        return self.engine.optimizer.optimizer

    def _start_moments(self) -> None:
        """Moments of zero, as AdamW makes them at its first step: so they are there to be loaded into."""
        zero = self.engine.optimizer
        for p in zero.fp32_partitioned_groups_flat if self.divided else [p for g in self._adam.param_groups for p in g["params"]]:
            self._adam.state[p] = {"step": torch.zeros(()), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        if not self.divided:
            zero._lazy_init_hp_params_optimizer_state()

    # one step

    def clear(self) -> None:
        """Forget all gradients, those of a step that was broken off too."""
        self.engine.optimizer.zero_grad(set_to_none=True)
        averaged = getattr(self.engine.optimizer, "averaged_gradients", None)
        if averaged:
            for key in averaged:
                averaged[key] = None

    def release(self) -> None:
        """Stage 3: give back the memory of the policy's own weights until they are handed over again. Tensors stay the objects they are,
        so whoever holds them finds the new weights; those that share their memory with something else are left alone."""
        if not self.divided:
            return
        for p in self.params.values():
            storage = p.untyped_storage()
            if storage.resizable() and storage.nbytes() == p.numel() * p.element_size():
                storage.resize_(0)
                self._released = True

    def _hold(self) -> bool:
        """Memory for the policy's own weights again, with nothing in it. False: it was there all the time, with them."""
        if not self._released:
            return False
        for p in self.params.values():
            if not p.untyped_storage().nbytes():
                p.untyped_storage().resize_(p.numel() * p.element_size())
        self._released = False
        return True

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradients of one micro-batch."""
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss * self.ranks.count, scale_wrt_gas=False)

    def reduce(self, ranks: Ranks) -> None:
        """DeepSpeed has done so."""

    def norm(self) -> float:
        """The global 2-norm of the reduced gradients."""
        from deepspeed.runtime.utils import get_global_norm_of_tensors

        zero = self.engine.optimizer  # DeepSpeed has three classes behind this, each with its own way to the norm
        if self.divided:
            return float(torch.linalg.vector_norm(torch.stack(zero._get_norm_groups())))
        if self.half and self.zero.stage == 1:
            return float(get_global_norm_of_tensors(zero.get_grads_for_norm()[0]))
        return float(zero.scaled_global_norm())

    def step(self, lr: float, norm: float, limit: float | None) -> None:
        """One AdamW step at `lr`, with the gradients, whose norm is given, scaled down to a norm of `limit`."""
        self.engine.optimizer.clip_grad = 0.0 if limit is None else limit
        for group in self._adam.param_groups:
            group["lr"] = lr
        self.engine.step()
        self.steps += 1
        self.hand_over()

    def hand_over(self) -> None:
        """Stage 3: the policy's own model takes on the divided weights, tensor by tensor."""
        if not self.divided:
            return
        import deepspeed

        self._hold()
        with torch.no_grad():
            for name, p in self.shared.items():
                with deepspeed.zero.GatheredParameters([p]):
                    self.params[name].copy_(p)

    # state

    def renew(self) -> None:
        """What is divided follows weights that were changed from outside (another version was loaded into the policy)."""
        from deepspeed.utils import safe_get_full_fp32_param

        if self.ranks.agree(self._released):  # a step was broken off: nothing outside can have changed them
            self.hand_over()
        changed = False
        for name, p in self.shared.items():
            now = self.params[name].detach()
            changed = changed or not torch.equal(safe_get_full_fp32_param(p).to(now.dtype), now)
        if self.ranks.agree(changed):
            self._set({n: p.detach() for n, p in self.params.items()})

    def _set(self, values: Mapping[str, Tensor]) -> None:
        """Weights from outside, by name: into float32 masters and into what the model computes with."""
        import deepspeed
        from deepspeed.utils import safe_set_full_fp32_param

        self._hold()
        with torch.no_grad():
            for name, p in self.shared.items():
                value = values[name].float().to(self.engine.device)
                safe_set_full_fp32_param(p, value)
                if self.divided:
                    with deepspeed.zero.GatheredParameters([p], modifier_rank=0):
                        p.copy_(value)
                self.params[name].copy_(value)

    def snapshot(self) -> dict[str, Any]:
        """Masters, moments and step count as they are now, in host memory."""
        return self.state_dict(masters=True)

    def rollback(self, kept: Mapping[str, Any]) -> None:
        """Back to a snapshot."""
        self.clear()
        self._load(kept)

    def state_dict(self, masters: bool = False) -> dict[str, Any]:
        """As `Weights.state_dict`; every rank must call it. `masters`: those of float32 parameters too."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        def whole(p: nn.Parameter, key: str) -> Tensor:
            return safe_get_full_optimizer_state(p, key).to("cpu", copy=True)

        moments = {}
        if self.steps:
            step = torch.tensor(float(self.steps))
            for n, p in self.shared.items():
                moments[n] = {"step": step.clone(), "exp_avg": whole(p, "exp_avg"), "exp_avg_sq": whole(p, "exp_avg_sq")}
        kept = self.shared if masters or self.half else {}
        return {
            "steps": self.steps,
            "moments": moments,
            "masters": {n: safe_get_full_fp32_param(p).to("cpu", copy=True) for n, p in kept.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore. Raises ValueError when names or shapes are those of another model."""
        for kind in ("moments", "masters"):
            for n, value in state[kind].items():
                if n not in self.params:
                    raise ValueError(f"optimizer state has {kind} for '{n}', which the policy does not train")
                shape = (value["exp_avg"] if kind == "moments" else value).shape
                if shape != self.params[n].shape:
                    raise ValueError(f"optimizer state of '{n}' has shape {tuple(shape)}, the parameter {tuple(self.params[n].shape)}")
        if bool(state["masters"]) != self.half:
            raise ValueError("optimizer state lacks the float32 masters of some parameters: it was saved in another precision")
        self._load(state)

    def _load(self, state: Mapping[str, Any]) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state

        self._set({n: state["masters"].get(n, p.detach()) for n, p in self.params.items()})
        for n, p in self.shared.items():
            moments = state["moments"].get(n)
            for key in ("exp_avg", "exp_avg_sq"):
                value = torch.zeros(self.params[n].shape) if moments is None else moments[key]
                safe_set_full_optimizer_state(p, value.float().to(self.engine.device), key)
        for kept in self._adam.state.values():
            kept["step"].fill_(float(state["steps"]))
        self.steps = int(state["steps"])


@contextmanager
def _quiet() -> Iterator[None]:
    """DeepSpeed tells its life at the start; what goes wrong it raises."""
    import logging

    logger = logging.getLogger("DeepSpeed")
    was = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(was)
