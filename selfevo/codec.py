"""Text to token ids and back: the only places where a chat template is read and foreign text is tokenised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from .errors import UserError
from .records import Message

PLAIN = (
    "{{ bos_token }}{% for m in messages %}{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
)
"""`chat_template: plain`: contents a line each and no roles, for base models that were never taught a chat format."""

MARKER = "Qx7selfevo7xQ"

OTHER = "set model.chat_template (a Jinja text, or plain)"
"""What to do about a template that is missing or does not serve."""


class ChatCodec:
    """Ids for one Hugging Face tokenizer, read off its own chat template.

    What must be appended between two assistant turns is found by rendering a conversation whose assistant turn is a marker and
    taking what follows it, so anything a template does to earlier turns (dates, default system prompts, thinking removed from
    history) cannot change ids that were already sampled.
    """

    def __init__(self, tokenizer: Any, limit: int, ends: Sequence[int] = ()):
        """
        tokenizer: of transformers. limit: longest context plus reply, in tokens.
        ends: ids that end a turn besides the tokenizer's end token and the template's own.
        """
        if not tokenizer.chat_template:
            name = tokenizer.name_or_path
            raise UserError(f"model '{name}': its tokenizer has no chat template; {OTHER}")
        self.tokenizer = tokenizer
        self._limit = limit
        self._given = tuple(ends)
        self._seen: dict[tuple[tuple[Message, ...], bool | None], tuple[int, ...]] = {}

    @property
    def limit(self) -> int:
        """Longest context plus reply in tokens."""
        return self._limit

    @cached_property
    def ends(self) -> frozenset[int]:
        """Ids after which the assistant has finished: the generation config's, the tokenizer's and the template's."""
        closing = self._closing[-1:]
        special = self.tokenizer.eos_token_id
        return frozenset((*self._given, *closing, *(() if special is None else (special,))))

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether a reply's last token is an end token."""
        return bool(tokens) and tokens[-1] in self.ends

    def open(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Ids of a conversation up to where the assistant is to speak. Raises UserError when the template refuses it."""
        return self._cached(messages, None, lambda chat: self.fragment(self._render(chat, speak=True)))

    def follow(self, messages: Sequence[Message], ended: bool) -> tuple[int, ...]:
        """Ids to append after a sampled turn so that the assistant may speak again.

        `ended` tells whether it drew its end token; where it did not (cut at a length), the template's own is put first.
        """

        def tail(chat: list[dict[str, str]]) -> tuple[int, ...]:
            ids, closing = self.fragment(self._after_marker(chat, speak=True)), self._closing
            return ids[len(closing) :] if ended and ids[: len(closing)] == closing else ids

        return self._cached(messages, ended, tail)

    @property
    def closing(self) -> tuple[int, ...]:
        """Ids that end a whole reply, as the policy itself would have drawn them."""
        special = self.tokenizer.eos_token_id
        return self._closing or (() if special is None else (special,))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of sampled ids, without special tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def fragment(self, text: str) -> tuple[int, ...]:
        """Ids of plain text with no chat frame."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """The text of every id of the tokenizer alone."""
        return tuple(self.decode([i]) for i in range(len(self.tokenizer)))

    @cached_property
    def _closing(self) -> tuple[int, ...]:
        """Ids from the end of an assistant's text through the first special token, such as an end-of-turn token; () if it has none."""
        tail = self.fragment(self._after_marker([], speak=False))
        special = set(self.tokenizer.all_special_ids) | {i for i, t in self.tokenizer.added_tokens_decoder.items() if t.special}
        for at, token in enumerate(tail):
            if token in special:
                return tail[: at + 1]
            if self.tokenizer.decode([token]).strip():
                break
        return ()

    def _cached(
        self, messages: Sequence[Message], ended: bool | None, make: Callable[[list[dict[str, str]]], tuple[int, ...]]
    ) -> tuple[int, ...]:
        """Templates take about as long as a decode step, and the members of a group ask for the same conversation."""
        key = (tuple(messages), ended)
        if key not in self._seen:
            if len(self._seen) >= 4096:
                self._seen.clear()
            self._seen[key] = make([{"role": m.role, "content": m.content} for m in messages])
        return self._seen[key]

    def _after_marker(self, messages: list[dict[str, str]], speak: bool) -> str:
        frame = [{"role": "user", "content": "?"}, {"role": "assistant", "content": MARKER}]
        text = self._render(frame + messages, speak)
        head, found, tail = text.rpartition(MARKER)
        if not found or MARKER in head:
            raise UserError(f"model '{self.tokenizer.name_or_path}': its chat template drops or repeats assistant turns; {OTHER}")
        return tail

    def _render(self, messages: list[dict[str, str]], speak: bool) -> str:
        from jinja2.exceptions import TemplateError

        try:
            return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=speak)
        except TemplateError as error:
            roles = ", ".join(m["role"] for m in messages)
            where = f"model '{self.tokenizer.name_or_path}'"
            raise UserError(f"{where}: its chat template refuses the roles ({roles}): {error}; {OTHER}") from error


class ByteCodec:
    """Ids are the UTF-8 bytes of the text; id 256 ends a turn. For engines that have no tokenizer."""

    END = 256
    ends = frozenset((END,))
    closing = (END,)

    def __init__(self, limit: int = 1 << 20):
        """limit: longest context plus reply, in bytes."""
        if limit < 1:
            raise UserError(f"limit must be at least 1, got {limit}")
        self._limit = limit

    @property
    def limit(self) -> int:
        """Longest context plus reply in bytes."""
        return self._limit

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether a reply's last token is the end token."""
        return bool(tokens) and tokens[-1] in self.ends

    def open(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """`role: content` lines, then `assistant: `."""
        return self.fragment("".join(f"{m.role}: {m.content}\n" for m in messages) + "assistant: ")

    def follow(self, messages: Sequence[Message], ended: bool) -> tuple[int, ...]:
        """A line break and the lines of `open`, after the end token where the reply has none."""
        return (() if ended else (self.END,)) + self.fragment("\n") + self.open(messages)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the bytes; end tokens vanish, and a character cut in two becomes U+FFFD."""
        return bytes(i for i in ids if i < self.END).decode(errors="replace")

    def fragment(self, text: str) -> tuple[int, ...]:
        """The bytes of the text."""
        return tuple(text.encode())
