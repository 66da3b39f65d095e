"""TRL's settings, held against the fields of its config classes without importing it: the fields are read off its source."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest

CONFIGS = {"sft": "SFTConfig", "dpo": "DPOConfig", "kto": "KTOConfig", "reward": "RewardConfig", "grpo": "GRPOConfig"}

Owned = tuple[tuple[str, tuple[str, ...]], ...]

OWNED: Owned = (
    ("selfevo writes the run directory",
     ("output_dir", "save_*", "hub_*", "push_to_hub", "load_best_model_at_end", "metric_for_best_model", "greater_is_better",
      "resume_from_checkpoint", "ignore_data_skip", "restore_callback_states_from_checkpoint", "enable_jit_checkpoint")),
    ("every step's line goes into the stage's metrics",
     ("report_to", "run_name", "project", "trackio_*", "logging_*", "log_*", "disable_tqdm", "include_num_input_tokens_seen",
      "include_for_metrics", "num_completions_to_print", "skip_memory_metrics", "debug")),
    ("evaluation is a stage of its own",
     ("do_*", "eval_*", "*_eval_batch_size", "prediction_loss_only", "batch_eval_metrics", "bf16_full_eval", "fp16_full_eval",
      "num_generations_eval")),
    ("seeds are hashes of the run's seed", ("seed", "data_seed", "full_determinism")),
    ("the policy stays where it is, in one process",
     ("use_cpu", "local_rank", "ddp_*", "fsdp*", "deepspeed", "parallelism_config", "accelerator_config", "average_tokens_across_devices")),
    ("rows are token ids already, made by `samples`",
     ("dataset_*", "remove_unused_columns", "label_names", "length_column_name", "truncation_mode", "eos_token", "pad_token",
      "chat_template*", "assistant_only_loss", "completion_only_loss")),
    ("the policy is what its model config loads", ("model_init_kwargs", "trust_remote_code")),
    ("the reference is the version that `to` names", ("precompute_ref_*", "sync_ref_model", "ref_model_*")),
    ("what comes out would depend on free memory", ("auto_find_batch_size",)),
    ("it changes the policy's precision for good", ("cast_lm_head_to_fp32", "use_transformers_*", "transformers_*")),
    ("it changes torch or transformers for the whole process", ("tf32", "use_liger_kernel", "liger_kernel_config")),
)  # fmt: skip
"""Settings that are selfevo's, by the reason why."""

OWNED_OF: Mapping[str, Owned] = {
    "grpo": (
        ("the stage's rows and `steps` decide it",
         ("max_steps", "num_train_epochs", "generation_batch_size", "steps_per_generation", "gradient_accumulation_steps",
          "shuffle_dataset", "train_sampling_strategy", "dataloader_drop_last")),
        ("`verifier` gives one reward", ("reward_weights", "multi_objective_aggregation", "max_tool_calling_iterations")),
        ("a trainer lives for one stage, too short for an engine of its own", ("use_vllm", "vllm_*")),
    ),
}  # fmt: skip

WORDS = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "list": "a list", "dict": "a mapping",
         "null": "null"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of a config class: the kinds of value it takes (empty: any), and the values themselves where they are listed."""

    kinds: frozenset[str]
    choices: tuple[str, ...] = ()

    def problem(self, value: Any) -> str:
        """What is wrong with a value, or ""."""
        kind = _kind(value)
        fits = not self.kinds or kind in self.kinds or (kind == "int" and "float" in self.kinds)
        if not fits:
            return f"expected {' or '.join(WORDS[k] for k in WORDS if k in self.kinds)}, got {value!r}"
        if kind == "str" and self.choices and value not in self.choices:
            return f"unknown value {value!r}{nearest(value, self.choices)}"
        return ""


def check(kind: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as given. Raises UserError with a line for each that TRL's config class does not have, that has another type, or
    that is selfevo's to set; or where TRL is not installed."""
    valid = fields(kind)
    problems = []
    for name, value in args.items():
        reason = owner(kind, name)
        if name not in valid:
            free = [n for n in valid if not owner(kind, n)]
            problems.append(f"args.{name}: {CONFIGS[kind]} has no such setting{nearest(name, free)}")
        elif reason:
            problems.append(f"args.{name}: cannot be set: {reason}")
        elif problem := valid[name].problem(value):
            problems.append(f"args.{name}: {problem}")
    if problems:
        raise UserError("\n".join(problems))
    return dict(args)


def owner(kind: str, name: str) -> str:
    """Why a setting is not free, or ""."""
    table = (*OWNED, *OWNED_OF.get(kind, ()))
    return next((reason for reason, patterns in table if any(fnmatchcase(name, p) for p in patterns)), "")


@cache
def fields(kind: str) -> Mapping[str, Setting]:
    """Every field of a trainer's config class, those it inherits included."""
    out: dict[str, Setting] = {}
    for package, file, name in (
        ("transformers", "training_args.py", "TrainingArguments"),
        ("trl", "trainer/base_config.py", "_BaseConfig"),
        ("trl", f"trainer/{kind}_config.py", CONFIGS[kind]),
    ):
        out |= dict(_declared(_tree(package, file), name))
    return out


@cache
def _tree(package: str, file: str) -> ast.Module:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UserError("needs TRL, which is not installed: pip install 'selfevo[trl]'")
    return ast.parse((Path(found.submodule_search_locations[0]) / file).read_text(encoding="utf-8"))


def _declared(tree: ast.Module, name: str) -> Iterator[tuple[str, Setting]]:
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not node.target.id.startswith("_"):
            names = {n.id for n in ast.walk(node.annotation) if isinstance(n, ast.Name)}
            listed = next((_enums()[n] for n in sorted(names) if n in _enums()), ()) or _listed(node.value)
            yield node.target.id, Setting(frozenset(_kinds(node.annotation)), listed)


def _kinds(node: ast.expr) -> set[str]:
    """Kinds of value an annotation allows; the empty set for any. What is neither built in nor Any is written as text (enums)."""
    match node:
        case ast.Constant(value=None):
            return {"null"}
        case ast.BinOp(left=left, right=right, op=ast.BitOr()):
            a, b = _kinds(left), _kinds(right)
            return a | b if a and b else set()
        case ast.Subscript(value=ast.Name(id="Literal")):
            return {"bool", "str"}
        case ast.Subscript(value=value):
            return _kinds(value)
        case ast.Name(id="Any"):
            return set()
        case ast.Name(id=name) if name in WORDS:
            return {name}
    return {"str"}


def _listed(value: ast.expr | None) -> tuple[str, ...]:
    """The `choices` of a field's metadata."""
    if isinstance(value, ast.Call):
        for keyword in value.keywords:
            if keyword.arg == "metadata" and isinstance(keyword.value, ast.Dict):
                for key, item in zip(keyword.value.keys, keyword.value.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "choices" and isinstance(item, ast.List):
                        return tuple(map(str, ast.literal_eval(item)))
    return ()


@cache
def _enums() -> Mapping[str, tuple[str, ...]]:
    """{enum: its values} of the enums that transformers' settings use."""
    out = {}
    for file in ("training_args.py", "trainer_utils.py"):
        for node in _tree("transformers", file).body:
            if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "ExplicitEnum" for b in node.bases):
                values = [s.value.value for s in node.body if isinstance(s, ast.Assign) and isinstance(s.value, ast.Constant)]
                out[node.name] = tuple(map(str, values))
    return out


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "dict"
    if isinstance(value, (list, tuple)):
        return "list"
    return type(value).__name__
