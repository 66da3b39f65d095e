"""Where policies come from: the schema of the `model` config group. Importing this module imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from . import file_tokenizer
from .codec import PLAIN, ByteCodec, ChatCodec
from .endpoint_model import Endpoint as Endpoint
from .errors import UserError, nearest
from .lora import Lora as Lora
from .policies import LivePolicy, quiet
from .records import Version
from .seeds import derive

BUNDLED = {name: Path(__file__).parent / "assets" / name for name in ("tiny",)}
LINE = 64
"""Bytes of a cache line; PyTorch aligns what it allocates to it."""


class Pretrained:
    """A causal language model of transformers from a folder (a saved adapter too), the Hugging Face Hub, or the package ("tiny").

    Padding: a tokenizer without a pad token pads with its end token. That is safe here because every mask in selfevo comes from
    lengths, never from comparing ids; a tokenizer that has neither is refused.
    """

    def __init__(
        self,
        path: str,
        dtype: Literal["auto", "float32", "bfloat16"] = "auto",
        device: str = "auto",
        revision: str | None = None,
        chat_template: str | None = None,
        max_length: int | None = None,
        attn: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa",
        lora: Lora | None = None,
    ):
        """
        path: folder, hub id, or "tiny" for the bundled policy.
        dtype: "auto" is the dtype of the checkpoint.
        device: "auto" is cuda where there is one, else cpu; or a torch device such as "cuda:1".
        revision: branch, tag or commit of a model of the Hub; default its main branch.
        chat_template: a Jinja text that replaces the tokenizer's, or "plain" (contents a line each, for base models).
        max_length: longest context plus reply in tokens; default what the model's positions allow.
        attn: attention kernels of transformers.
        lora: adapters that are trained in place of the weights.
        """
        if dtype not in ("auto", "float32", "bfloat16"):
            raise UserError(f"model.dtype '{dtype}' is not known{nearest(dtype, ('auto', 'float32', 'bfloat16'))}")
        if max_length is not None and max_length < 2:
            raise UserError(f"model.max_length must be at least 2, got {max_length}")
        self.path, self.dtype, self.device, self.revision = path, dtype, device, revision
        self.chat_template, self.max_length, self.attn, self.lora = chat_template, max_length, attn, lora
        self._unreachable: str | None = None

    def load(self, name: str) -> LivePolicy:
        """A live policy at version 000000. Raises UserError in one line when the model cannot be had or used."""
        source = self._found()
        tokenizer, model = self._light(source) or (self._tokenizer(source), self._model(source))
        limit = self._limit(model)
        ends = _ids(model.generation_config.eos_token_id)
        if (Path(source) / "adapter_config.json").exists():
            model = self._adapter(model, source)
        elif self.lora is not None:
            model = self.lora.wrap(model, derive("lora", name))
        codec = ChatCodec(tokenizer, limit, ends)
        return LivePolicy(name, model, tokenizer, codec, Version(name, "000000"), source=self.path)

    def tokenizer(self) -> Any:
        """The tokenizer alone, with the chat template of `load`."""
        return self._tokenizer(self._found())

    def _light(self, source: str) -> tuple[Any, Any] | None:
        """Tokenizer and model read without transformers, whose import takes seconds; None where only transformers reads them."""
        if self.lora is not None or self.attn != "sdpa" or not Path(source).is_dir():
            return None
        import torch

        from .decoder import files

        try:
            tokenizer = file_tokenizer.read(source, self._template())
            model = None if tokenizer is None else files.read(source, None if self.dtype == "auto" else getattr(torch, self.dtype))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # it is in no order, which transformers puts into words
            return None
        return None if model is None else (self._completed(tokenizer), self._placed(model))

    def _placed(self, model: Any) -> Any:
        """The model on its device."""
        import torch

        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        return aligned(model.to(device))

    def _template(self) -> str | None:
        """The chat template that replaces the tokenizer's."""
        return PLAIN if self.chat_template == "plain" else self.chat_template

    def _completed(self, tokenizer: Any) -> Any:
        """The tokenizer with the chosen chat template and a pad token."""
        if self.chat_template is not None:
            tokenizer.chat_template = self._template()
        if tokenizer.pad_token_id is None:
            if tokenizer.eos_token_id is None:
                said = "its tokenizer has neither a pad token nor an end token; name one in its tokenizer_config.json"
                raise UserError(f"model '{self.path}': {said}")
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def _found(self) -> str:
        """Where it lies; whether the Hub can be asked is known from here on."""
        source = self._source()
        self._unreachable = None if Path(source).is_dir() else _probe(source, self.revision)
        return source

    def _source(self) -> str:
        name = self.path.removeprefix("selfevo:")
        if name in BUNDLED and not Path(self.path).is_dir():
            if not (BUNDLED[name] / "config.json").exists():
                raise UserError(f"model '{self.path}': the bundled policy is missing from this installation")
            return str(BUNDLED[name])
        if Path(self.path).is_dir():
            return self.path
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.path) or self.path.startswith("."):
            raise UserError(f"model '{self.path}': no such folder, and not a hub id (owner/name){nearest(self.path, BUNDLED)}")
        return self.path

    def _unavailable(self, error: Exception) -> UserError:
        if Path(self.path).is_dir():
            return UserError(f"model '{self.path}': the folder holds no usable model: {_short(error)}")
        cause = self._unreachable or _short(error)
        return UserError(f"model '{self.path}': not downloaded and not to be had from the Hub ({cause}); model=tiny needs no download")

    def _tokenizer(self, source: str) -> Any:
        from transformers import AutoTokenizer

        quiet()
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, revision=self.revision, local_files_only=self._unreachable is not None)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise self._unavailable(error) from error
        # Contexts that are too long are refused by us, naming the task; a warning before that would only be a second line.
        tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
        return self._completed(tokenizer)

    def _model(self, source: str) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        quiet()
        dtype: Any = self.dtype if self.dtype == "auto" else getattr(torch, self.dtype)
        if (Path(source) / "adapter_config.json").exists():
            from peft import PeftConfig

            source = str(PeftConfig.from_pretrained(source).base_model_name_or_path)
        load: Any = AutoModelForCausalLM.from_pretrained
        try:
            model, info = load(
                source,
                revision=self.revision,
                local_files_only=self._unreachable is not None,
                dtype=dtype,
                attn_implementation=self.attn,
                output_loading_info=True,
            )
        except (OSError, ValueError, ImportError) as error:
            raise self._unavailable(error) from error
        missing = sorted(info["missing_keys"])
        if missing:
            raise UserError(f"model '{self.path}': the checkpoint lacks {len(missing)} tensors ({missing[0]}, ...); fetch or save it anew")
        return self._placed(model)

    def _adapter(self, model: Any, source: str) -> Any:
        from peft import PeftModel

        if self.lora is not None:
            raise UserError(f"model '{self.path}': is an adapter already; drop `lora`, or merge it first")
        return PeftModel.from_pretrained(model, source, is_trainable=True)

    def _limit(self, model: Any) -> int:
        positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if self.max_length is None:
            if positions is None:
                raise UserError(f"model '{self.path}': its config states no longest context; set max_length")
            return int(positions)
        if positions is not None and self.max_length > positions:
            raise UserError(f"model '{self.path}': max_length {self.max_length} is beyond its {positions} positions")
        return self.max_length


class Scripted:
    """A policy without weights, for `engines.Scripted`: replies come from a file and nothing can be trained."""

    weights = False

    def __init__(self, limit: int = 1 << 20):
        """`limit`: longest context plus reply in bytes."""
        self.limit = limit

    def load(self, name: str) -> LivePolicy:
        """A frozen policy with a byte codec; imports no torch."""
        return LivePolicy(name, None, None, ByteCodec(self.limit), Version(name, "000000"), frozen=True, source="scripted")


def aligned(model: Any) -> Any:
    """The same model with its tensors on cache lines. Weights read from a file lie where the file has them, which makes products slower
    and lets them differ in their last bits from those of a copy: a fork would not compute what its original does."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % LINE:
            tensor.data = tensor.data.clone()
    return model


def _probe(repository: str, revision: str | None) -> str | None:
    """Why the Hub cannot serve a model, or None. One question without retries: the libraries' own retries take a minute per model."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(repository, "config.json", revision=revision), timeout=10)
    except Exception as error:  # of whatever kind: what is downloaded already is then all there is, and loading says so if it is not enough
        return _short(error)
    return None


def _short(error: BaseException) -> str:
    """The first sentence of an error, on one line."""
    text = " ".join(str(error).split())
    return re.split(r"(?<=[a-z])\. ", text)[0][:160] or type(error).__name__


def _ids(value: int | Sequence[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)
