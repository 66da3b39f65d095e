"""Replies from a file instead of a model: for tests of pure logic and for debugging a spec. Imports no torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..codec import ByteCodec
from ..errors import EngineError, UserError, nearest
from ..protocols import Completion, GenerateRequest, ScoreRequest, TokenScores
from ..seeds import derive

Entry = str | Sequence[str] | Mapping[str, Any]


class Rule:
    """When (`contains`: a substring of the context, `matches`: a regular expression found in it, `policy`: a policy's name) and what."""

    def __init__(
        self,
        replies: str | Sequence[str],
        contains: str | None = None,
        matches: str | None = None,
        policy: str | None = None,
    ):
        self.replies = (replies,) if isinstance(replies, str) else tuple(replies)
        if not self.replies or not all(isinstance(r, str) for r in self.replies):
            raise UserError(f"scripted replies must be one or more texts, got {list(self.replies)!r}")
        self.contains, self.policy = contains, policy
        try:
            self.matches = None if matches is None else re.compile(matches)
        except re.error as error:
            raise UserError(f"scripted replies: '{matches}' is not a regular expression ({error})") from error

    def fits(self, text: str, policy: str) -> bool:
        """Whether every condition that was given holds."""
        return (
            (self.contains is None or self.contains in text)
            and (self.matches is None or self.matches.search(text) is not None)
            and (self.policy is None or self.policy == policy)
        )


class Scripted:
    """Replies chosen by the prompt.

    Log-probs are None: nothing was sampled from a distribution.

    replies: a file (YAML or JSON) or its content: a list answers every prompt; a mapping gives, under any name, a text or a
        list of texts for prompts that contain the name, or {contains, matches, policy, replies} with any of the three conditions.
        The first entry that fits answers.
    choose: how to cycle through several texts. order, the i-th request of one call with the same context gets the i-th text, so a
        group of n sees n of them; seed, the request's seed picks one.
    """

    capabilities = frozenset({"generate"})
    logprobs = False

    def __init__(self, replies: str | Sequence[str] | Mapping[str, Entry], choose: Literal["order", "seed"] = "order"):
        if choose not in ("order", "seed"):
            raise UserError(f"engine.choose '{choose}' is not known{nearest(choose, ('order', 'seed'))}")
        self.choose = choose
        self.rules = _rules(_read(replies) if isinstance(replies, str) else replies)
        self._codec: Any = ByteCodec()
        self._policy = ""

    def load(self, policy: Any) -> None:
        """Answer for this policy from now on."""
        self._codec, self._policy = policy.codec, policy.name

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """One completion per request, in order; EngineError naming the prompt that no entry fits."""
        seen: Counter[tuple[int, ...]] = Counter()
        out = []
        for index, request in enumerate(requests):
            text = self._codec.decode(request.context)
            rule = self._find(text, index)
            number = seen[request.context] if self.choose == "order" else derive("scripted", request.seed)
            seen[request.context] += 1
            out.append(self._complete(rule.replies[number % len(rule.replies)], request, index))
        return out

    def score(
        self, requests: Sequence[ScoreRequest], want: Literal["sampled", "topk", "full"] = "sampled", k: int = 0
    ) -> list[TokenScores]:
        """Not possible: scripted replies have no distribution."""
        raise EngineError("the scripted engine has no distribution to score tokens with; use engine=native")

    def _find(self, text: str, index: int) -> Rule:
        for rule in self.rules.values():
            if rule.fits(text, self._policy):
                return rule
        last = next((line for line in reversed(text.splitlines()[:-1] or [text]) if line.strip()), text)
        raise EngineError(f"scripted engine: no reply fits request {index}, '{last[-80:]}'{nearest(last, self.rules)}")

    def _complete(self, reply: str, request: GenerateRequest, index: int) -> Completion:
        room = self._codec.limit - len(request.context)
        if room < 1:
            raise EngineError(f"request {index}: prompt longer than the context ({len(request.context)} of {self._codec.limit} tokens)")
        cuts = [reply.find(s) + len(s) for s in request.sampling.stop if s in reply]
        if cuts:
            reply = reply[: min(cuts)]
        tokens = self._codec.fragment(reply) + (() if cuts else tuple(sorted(self._codec.ends))[:1])
        kept = tokens[: min(request.sampling.max_tokens, room)]
        return Completion(kept, None, self._codec.decode(kept), "stop" if len(kept) == len(tokens) else "length")


def _read(path: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"engine.replies: no file '{path}'; expected replies, or a YAML file that holds them") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"engine.replies: '{path}' cannot be read ({' '.join(str(error).split())})") from error


def _rules(replies: Any) -> dict[str, Rule]:
    if isinstance(replies, Mapping):
        rules = {str(name): _rule(str(name), entry) for name, entry in replies.items()}
    elif isinstance(replies, Sequence) and not isinstance(replies, str):
        rules = {"replies": Rule(list(replies))}
    else:
        raise UserError(f"engine.replies: expected a list or a mapping of replies, got {type(replies).__name__}")
    if not rules:
        raise UserError("engine.replies: there are no replies; expected a list, or a mapping {part of a prompt: reply}")
    return rules


def _rule(name: str, entry: Any) -> Rule:
    if not isinstance(entry, Mapping):
        return Rule(entry, contains=name)
    known = ("contains", "matches", "policy", "replies")
    for key in entry:
        if key not in known:
            raise UserError(f"engine.replies.{name}: unknown key '{key}'{nearest(str(key), known)}")
    if "replies" not in entry:
        raise UserError(f"engine.replies.{name}: has no 'replies'")
    return Rule(**{str(k): v for k, v in entry.items()})
