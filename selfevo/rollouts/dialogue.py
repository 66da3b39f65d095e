"""One role's conversation inside an episode, and the trajectory it becomes.

A conversation is a list of ids that only grows: the opening (the rendered prompt), then the ids of every turn in order. What the
policy sampled is appended as it was sampled; foreign text is tokenised once, when it is heard. Nothing is ever decoded and read back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal

from ..errors import EngineError, UserError, nearest
from ..protocols import Codec, Completion, Sampling
from ..records import Cost, Message, Status, Task, Trajectory, Turn

Generate = Callable[[tuple[int, ...], Sampling, tuple[object, ...]], Awaitable[Completion]]
"""Continue `context` under `sampling`; the key names the draw within the episode, and the caller hashes it into a seed."""

Foreign = Literal["tool", "env", "teacher", "judge", "data"]


class NoRoom(EngineError, UserError):
    """A conversation fills the policy's whole context. Exit status 2: it is the data, or the model chosen for it."""


class Talk:
    """A `protocols.Dialogue` with everything it needs injected, so that it knows neither engine nor run.

    `context` holds the ids of the opening; `policy` names the version that speaks ("solver@000003"); `memories` maps each memory the
    role read to its version; `lane` tells apart dialogues of one role within an episode (a fork's lane extends its parent's).
    The key given to `generate` is (role, *lane, number of policy turns so far, *key), so that two draws of one conversation, or of
    two forks of it, never share a seed, and equal conversations under two versions always do.

    A task with `turns` is resumed: the dialogue starts with them, they cost nothing here, they are the `prefix` of the trajectory
    and `parent` is the task's lineage parent. Turns with text but no ids are tokenised once. A policy turn that was sampled under
    another context than it now follows keeps its ids but loses its log-probs, which no longer describe it.

    Engines that return text without ids are read through the codec for the rest of the conversation, while their turns keep
    empty `tokens`: ids that nobody sampled are not trained on.
    """

    def __init__(
        self,
        *,
        codec: Codec,
        task: Task,
        context: Sequence[int],
        role: str,
        policy: str,
        sampling: Sampling,
        generate: Generate,
        new_id: Callable[[], str],
        episode: str,
        memories: Mapping[str, str] | None = None,
        keys: Mapping[str, str] | None = None,
        lane: tuple[object, ...] = (),
    ):
        self._codec, self._generate, self._new_id = codec, generate, new_id
        self._open = tuple(context)
        self._task, self._role, self._policy, self._sampling = task, role, policy, sampling
        self._episode, self._memories, self._keys = episode, dict(memories or {}), dict(keys or {})
        self._lane = lane
        self.id = new_id()
        self._turns: list[Turn] = []
        self._ids: list[tuple[int, ...]] = []  # what each turn adds to the context; its tokens unless an engine gave only text
        self._cost = Cost()
        self._parent: str | None = None
        self._shared = 0  # turns that another trajectory, or the task, brought in
        self._forks = 0
        self._closed = False
        if task.turns:
            for turn in task.turns:
                self._resume(turn)
            self._shared, self._parent = len(task.turns), task.lineage.parent

    @property
    def turns(self) -> tuple[Turn, ...]:
        """So far, resumed and shared turns included."""
        return tuple(self._turns)

    @property
    def context(self) -> tuple[int, ...]:
        """Ids that the next reply is conditioned on: the opening and every turn."""
        return self._open + tuple(i for ids in self._ids for i in ids)

    @property
    def room(self) -> int:
        """Tokens the conversation can still take before the policy's limit."""
        return self._codec.limit - len(self.context)

    @property
    def ended(self) -> bool:
        """Whether the policy ended its reply: a stop string, or its length, only pauses it."""
        return self._ended()

    async def reply(self, *key: object, **sampling: Any) -> Turn:
        """The policy speaks. `sampling` overrides fields of the role's `Sampling`; a reply never passes the policy's limit.

        Raises NoRoom when no token fits, UserError for an unknown setting.
        """
        self._must_be_open()
        settings = self._settings(sampling)
        context = self.context
        room = self._codec.limit - len(context)
        if room < 1:
            said = " ".join(str(next(iter(self._task.vars.values()), "")).split())
            said = said if len(said) <= 40 else said[:40] + "..."
            raise NoRoom(
                f"role {self._role}, task {self._task.id} ('{said}'): a context of {len(context)} tokens leaves "
                f"no room for a reply (limit {self._codec.limit}); leave such tasks out, or use a model with a longer context"
            )
        settings = replace(settings, max_tokens=min(settings.max_tokens, room))
        spoken = sum(t.source == "policy" for t in self._turns)
        done = await self._generate(context, settings, (self._role, *self._lane, spoken, *key))
        turn = Turn("policy", done.text, done.tokens, done.logprobs, context, self._policy, settings.temperature, done.finish)
        self._append(turn, done.tokens or (self._codec.fragment(done.text) if done.text else ()))
        self._cost += Cost(prompt_tokens=len(context), generated_tokens=len(done.tokens), calls=1)
        return turn

    def hear(self, text: str, source: Foreign = "env", role: str = "user") -> Turn:
        """Foreign text as a message of chat role `role`, tokenised once with the frame around it, so that the policy may speak again.

        Hearing twice in a row leaves an empty reply in between: join the texts where that is not meant.
        """
        self._must_be_open()
        ids = self._codec.follow([Message(role, text)], self._ended())
        return self._append(Turn(source, text, ids), ids)

    def force(self, text: str, source: Foreign = "data") -> Turn:
        """Foreign text that the policy continues as if it had begun so (or a tool's answer written into a reply that a stop string paused).

        Raises ValueError where the policy has ended its turn: there is no reply to place the text in.
        """
        self._must_be_open()
        if self._ended():
            raise ValueError(f"role {self._role}: nothing can be forced after the policy ended its turn; hear something first")
        ids = self._codec.fragment(text)
        return self._append(Turn(source, text, ids), ids)

    def record(self, text: str, source: Foreign = "data") -> Turn:
        """A whole reply that someone else wrote, with the ids that end it: what a supervised fit learns to say and to stop after.

        Raises ValueError where the policy has ended its turn: there is no reply to stand in for.
        """
        self._must_be_open()
        if self._ended():
            raise ValueError(f"role {self._role}: nothing can be recorded after the policy ended its turn; hear something first")
        ids = (*self._codec.fragment(text), *self._codec.closing)
        return self._append(Turn(source, text, ids, context=self.context, finish="stop"), ids)

    def fork(self, at: int | None = None) -> Talk:
        """A child that shares the turns so far, or the first `at` of them. Its trajectory names this one as parent and costs only what
        the child itself asks for. A closed dialogue can still be forked."""
        count = len(self._turns) if at is None else at
        if not 0 <= count <= len(self._turns):
            raise ValueError(f"role {self._role}: cannot fork at turn {at} of {len(self._turns)}")
        child = Talk(
            codec=self._codec, task=replace(self._task, turns=()), context=self._open, role=self._role, policy=self._policy,
            sampling=self._sampling, generate=self._generate, new_id=self._new_id, episode=self._episode,
            memories=self._memories, keys=self._keys, lane=(*self._lane, "fork", self._forks),
        )  # fmt: skip
        self._forks += 1
        child._task = self._task
        child._turns, child._ids = self._turns[:count], self._ids[:count]
        child._shared, child._parent = count, self.id
        return child

    def close(self, status: Status | None = None, error: str | None = None, keys: Mapping[str, str] | None = None) -> Trajectory:
        """The trajectory. Status defaults to "error" when `error` is given, to "truncated" when the last reply hit its length, else to
        "finished". `keys` are added to the episode's. A dialogue closes once."""
        self._must_be_open()
        self._closed = True
        if status is None:
            last = next((t for t in reversed(self._turns) if t.source == "policy"), None)
            status = "error" if error is not None else "truncated" if last is not None and last.finish == "length" else "finished"
        return Trajectory(
            id=self.id, task=self._task, role=self._role, policy=self._policy, turns=self.turns, episode=self._episode,
            keys={**self._keys, **(keys or {})}, memories=self._memories, parent=self._parent,
            prefix=sum(len(t.tokens) for t in self._turns[: self._shared]), status=status, error=error, cost=self._cost,
        )  # fmt: skip

    def _append(self, turn: Turn, ids: Sequence[int]) -> Turn:
        self._turns.append(turn)
        self._ids.append(tuple(ids))
        return turn

    def _resume(self, turn: Turn) -> None:
        ids = turn.tokens
        if not ids and turn.text:
            spoken = bool(self._turns) and self._turns[-1].source == "policy"
            if turn.source != "policy" and spoken:
                ids = self._codec.follow([Message("user", turn.text)], self._ended())
            else:
                ids = self._codec.fragment(turn.text)
            turn = replace(turn, tokens=ids, logprobs=None)
        if turn.source == "policy" and turn.context != self.context:
            turn = replace(turn, context=self.context, logprobs=None)
        self._append(turn, ids)

    def _ended(self) -> bool:
        """Whether the last ids are a policy turn's that drew its end token: a stop string only pauses a turn, and text without ids has
        no end token, so that the codec is to write it."""
        last = self._turns[-1] if self._turns else None
        if last is None or last.source != "policy" or last.finish != "stop" or not last.tokens:
            return False
        ended = getattr(self._codec, "ended", None)  # optional: without it every stop is read as an end
        return ended is None or bool(ended(last.tokens))

    def _settings(self, changes: Mapping[str, Any]) -> Sampling:
        valid = [f.name for f in fields(Sampling)]
        for name in changes:
            if name not in valid:
                raise UserError(f"role {self._role}: unknown sampling setting '{name}'{nearest(name, valid)}")
        return replace(self._sampling, **changes)

    def _must_be_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"role {self._role}: trajectory {self.id} is closed")
