"""A tokenizer that is wholly in its files, read without transformers, whose import takes seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

BACKEND, SETTINGS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""Classes of transformers that add nothing to what tokenizer.json says."""
NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
KNOWN = {
    *NAMED, "tokenizer_class", "backend", "chat_template", "extra_special_tokens", "model_max_length", "padding_side", "truncation_side",
    "clean_up_tokenization_spaces", "is_local", "local_files_only",
}  # fmt: skip
"""Settings that change no id and no text of ours; with any other the tokenizer is left to transformers."""


def read(folder: str | Path, template: str | None = None) -> FileTokenizer | None:
    """A folder's tokenizer, with its own or another chat `template`; None where transformers would read another."""
    path = Path(folder)
    if not (path / BACKEND).is_file() or not (path / SETTINGS).is_file():
        return None
    settings = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
    extra = settings.get("extra_special_tokens") or []
    named = [settings[name] for name in NAMED if settings.get(name) is not None]
    if settings.get("tokenizer_class") not in CLASSES or set(settings) - KNOWN or not isinstance(extra, list):
        return None
    from jinja2.exceptions import TemplateSyntaxError

    made = FileTokenizer(path)
    special = {token.content for token in made.added_tokens_decoder.values() if token.special}
    if not all(isinstance(token, str) and token in special for token in (*named, *extra)):
        return None
    made.chat_template = template or made.chat_template
    try:
        made.compiled()
    except TemplateSyntaxError:  # transformers knows tags of its own
        return None
    return made


class FileTokenizer:
    """As much of transformers' interface as `ChatCodec` and saving ask for. `whole` is that class itself."""

    def __init__(self, folder: str | Path):
        from tokenizers import Tokenizer

        path = Path(folder)
        self.name_or_path = str(folder)
        self._file = (path / BACKEND).read_text(encoding="utf-8")
        self.backend_tokenizer: Any = Tokenizer.from_str(self._file)
        self.backend_tokenizer.no_padding()
        self.backend_tokenizer.no_truncation()
        self.settings: dict[str, Any] = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
        template = path / TEMPLATE
        self.chat_template: str | None = template.read_text(encoding="utf-8") if template.is_file() else self.settings.get("chat_template")
        self._compiled: tuple[str | None, Any] = (None, None)

    def __len__(self) -> int:
        return int(self.backend_tokenizer.get_vocab_size(with_added_tokens=True))

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        """{"input_ids": ids of the text}."""
        return {"input_ids": self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool = False) -> str:
        """The text of ids, as it is: clean-up of spaces is not offered."""
        if clean_up_tokenization_spaces:
            raise ValueError("clean_up_tokenization_spaces is not offered here; take `whole()`")
        return str(self.backend_tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    @property
    def pad_token(self) -> str | None:
        """The pad token."""
        return self.settings.get("pad_token")

    @pad_token.setter
    def pad_token(self, token: str) -> None:
        self.settings["pad_token"] = token

    @property
    def eos_token(self) -> str | None:
        """The end token."""
        return self.settings.get("eos_token")

    @property
    def pad_token_id(self) -> int | None:
        """The pad token's id."""
        return self._id("pad_token")

    @property
    def eos_token_id(self) -> int | None:
        """The end token's id."""
        return self._id("eos_token")

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """{name: token} of the tokens that have one."""
        return {name: self.settings[name] for name in NAMED if self.settings.get(name) is not None}

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of the named and the extra special tokens."""
        tokens = [*self.special_tokens_map.values(), *(self.settings.get("extra_special_tokens") or [])]
        return [self.backend_tokenizer.token_to_id(token) for token in dict.fromkeys(tokens)]

    @cached_property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """{id: token} of the tokens added to the vocabulary."""
        return dict(self.backend_tokenizer.get_added_tokens_decoder())

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], tokenize: bool = False, add_generation_prompt: bool = False
    ) -> str:
        """The text of a conversation. Raises jinja2's TemplateError where the template refuses it."""
        if tokenize:
            raise ValueError("conversations become text here; tokenize that, or take `whole()`")
        given = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": add_generation_prompt}
        return str(self.compiled().render(**given, **self.special_tokens_map))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write its files."""
        path = Path(folder)
        settings = {key: value for key, value in self.settings.items() if key != "chat_template"}
        (path / BACKEND).write_text(self._file, encoding="utf-8")
        (path / SETTINGS).write_text(json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        if self.chat_template is not None:
            (path / TEMPLATE).write_text(self.chat_template, encoding="utf-8")

    def whole(self) -> Any:
        """The same tokenizer as transformers' class."""
        import tempfile

        from transformers import AutoTokenizer

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            made = AutoTokenizer.from_pretrained(folder)
        made.name_or_path = self.name_or_path
        return made

    def compiled(self) -> Any:
        """The chat template, compiled with what transformers offers to templates."""
        if self._compiled[1] is None or self._compiled[0] != self.chat_template:
            self._compiled = self.chat_template, _environment().from_string(self.chat_template or "")
        return self._compiled[1]

    def _id(self, name: str) -> int | None:
        token = self.settings.get(name)
        return None if token is None else self.backend_tokenizer.token_to_id(token)

    def __getstate__(self) -> dict[str, Any]:
        """Compiled templates cannot be copied; they are made anew."""
        return {**self.__dict__, "_compiled": (None, None)}


def _environment() -> Any:
    """Jinja in a sandbox, block lines trimmed, with `raise_exception`, `strftime_now`, loop controls and JSON that escapes no HTML."""
    from jinja2 import ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[ext.loopcontrols])
    made.filters["tojson"] = _json
    made.globals["raise_exception"] = _refuse
    made.globals["strftime_now"] = _now
    return made


def _json(value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    from jinja2.exceptions import TemplateError

    raise TemplateError(message)


def _now(layout: str) -> str:
    from datetime import datetime

    return datetime.now().strftime(layout)
