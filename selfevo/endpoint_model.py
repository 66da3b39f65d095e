"""The policy behind an endpoint: no weights here, and a codec whose ids keep the messages of a conversation. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from .errors import UserError, nearest
from .policies import LivePolicy
from .records import Message, Version


class MessageCodec:
    """Ids that give a conversation's messages back exactly, for engines that speak in messages.

    A message is the marker of its role, the UTF-8 bytes of its content, and END. In a context the last message is the assistant's,
    and still open. Text is ids below END, so no text can pass for a frame.
    """

    END = 256
    MARKERS: ClassVar[dict[str, int]] = {role: 257 + i for i, role in enumerate(("system", "user", "assistant", "tool", "developer"))}
    ends = frozenset((END,))
    closing = (END,)

    def __init__(self, limit: int = 1 << 20):
        """`limit`: longest context plus reply in ids, which are bytes of text, and two for every message."""
        if limit < 2:
            raise UserError(f"limit must be at least 2, got {limit}")
        self._limit = limit

    @property
    def limit(self) -> int:
        """Longest context plus reply in ids."""
        return self._limit

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether a reply's last token is the end token."""
        return bool(tokens) and tokens[-1] == self.END

    def open(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Every message whole, then the assistant's marker. Raises UserError for a role that has no marker."""
        ids: list[int] = []
        for message in messages:
            if message.role not in self.MARKERS:
                raise UserError(f"a message of role '{message.role}': no such chat role{nearest(message.role, self.MARKERS)}")
            ids += (self.MARKERS[message.role], *self.fragment(message.content), self.END)
        return (*ids, self.MARKERS["assistant"])

    def follow(self, messages: Sequence[Message], ended: bool) -> tuple[int, ...]:
        """The end token where the reply has none, then the ids of `open`."""
        return (*(() if ended else self.closing), *self.open(messages))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the bytes; markers and end tokens vanish, and a character cut in two becomes U+FFFD."""
        return bytes(i for i in ids if i < self.END).decode(errors="replace")

    def fragment(self, text: str) -> tuple[int, ...]:
        """The bytes of the text. Raises UserError for half of a surrogate pair, which neither UTF-8 nor a table can hold."""
        try:
            return tuple(text.encode())
        except UnicodeEncodeError as error:
            raise UserError(f"a text holds half a character (U+{ord(text[error.start]):04X} at {error.start})") from error

    def messages(self, context: Sequence[int]) -> list[Message]:
        """The messages of a context; the last is the assistant's, with what its reply begins with already (often nothing).

        Raises ValueError for ids that are no conversation of this codec, such as those of another policy.
        """
        cuts = [i for i, token in enumerate(context) if token >= self.END]
        starts, ends = cuts[::2], cuts[1::2]
        roles = {marker: role for role, marker in self.MARKERS.items()}
        framed = starts == [0, *(end + 1 for end in ends)] and all(context[end] == self.END for end in ends)
        if not framed or not all(context[start] in roles for start in starts):
            raise ValueError("the context holds no messages: its ids are another policy's")
        if roles[context[starts[-1]]] != "assistant":
            raise ValueError("the context does not end where the assistant is to speak")
        spans = zip(starts, [*ends, len(context)], strict=True)
        return [Message(roles[context[start]], self.decode(context[start + 1 : end])) for start, end in spans]


class Endpoint:
    """A policy whose weights are elsewhere, for `engines.OpenAI`: it can speak, but not be scored or trained."""

    weights = False
    keeps_messages = True

    def __init__(self, limit: int = 1 << 20):
        """`limit`: longest conversation plus reply in bytes; what the endpoint's own model can read is for the endpoint to say."""
        self.limit = limit

    def load(self, name: str) -> LivePolicy:
        """A frozen policy with a `MessageCodec`."""
        return LivePolicy(name, None, None, MessageCodec(self.limit), Version(name, "000000"), frozen=True, source="endpoint")
