"""Copies of an engine on Ray, each with the policy's weights, that share the requests."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from ..crew import Crew, Member
from ..errors import EngineError, SelfevoError, UserError
from ..policies import LivePolicy, is_adapted
from ..protocols import Completion, Engine, GenerateRequest, ScoreRequest, TokenScores
from ..records import Version
from ..surroundings import Surroundings, Where

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Wanted:
    """The policy that requests are for: `number` names its model object among those of the run, `alive` those that are left."""

    policy: str
    number: int
    version: Version
    alive: frozenset[int]


class Replicas:
    """An engine whose members are Ray actors, each holding the spec's engine and a copy of the policy.

    `load` only takes note. With the next requests each member that does not have that policy at that version gets its weights, which
    lie once in Ray's object store. Requests are split into consecutive blocks, one for each member. What a member that dies was asked
    goes to another; a draw depends on its request's seed alone, so nothing changes but rounding.
    """

    def __init__(self, name: str, engine: Engine, crew: Crew):
        """`name`: the engine's among the spec's; `engine`: one like those of the members, which never loads; `crew`: of `Replica`s."""
        self.capabilities = engine.capabilities
        self._name, self._crew = name, crew
        self._policy: LivePolicy | None = None
        self._numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._made = 0
        self._held: WeakKeyDictionary[Member, dict[int, str]] = WeakKeyDictionary()
        self._stored: tuple[tuple[int, str], Any] | None = None

    def load(self, policy: LivePolicy) -> None:
        """Use this policy from now on, at the version it has when something is asked."""
        if policy.model is None:
            said = f"policy '{policy.name}' has no weights ({policy.source})"
            raise UserError(f"{said}: engine replicas need a model; or use engine=scripted")
        self._policy = policy

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """One completion per request, in order. Raises EngineError naming the request that does not fit, or when no member is left."""
        return self._ask("generate", requests)

    def score(
        self, requests: Sequence[ScoreRequest], want: Literal["sampled", "topk", "full"] = "sampled", k: int = 0
    ) -> list[TokenScores]:
        """Scores per request, in order."""
        return self._ask("score", requests, want, k)

    def spent(self) -> dict[str, float]:
        """{"replicas_lost": n} where members were lost since this was last asked."""
        return self._crew.spent()

    def _ask(self, verb: str, requests: Sequence[Any], *more: Any) -> list[Any]:
        if self._policy is None:
            raise EngineError("the engine replicas have no policy yet: load one first")
        wanted = self._wanted(self._policy)
        parts = blocks(requests, self._crew.size)

        def job(part: Sequence[Any]) -> Callable[[Member], Any]:
            return lambda member: member.actor.serve.remote(self._name, wanted, self._news(member, wanted), verb, list(part), *more)

        out: list[Any] = []
        for said in self._crew.do([job(part) for part in parts]):
            if isinstance(said, SelfevoError):
                raise _of_the_whole(said, len(out))
            out += said
        if all(self._held.get(m, {}).get(wanted.number) == wanted.version.ref for m in self._crew.members):
            self._stored = None  # everyone has them: free the store
        return out

    def _wanted(self, policy: LivePolicy) -> Wanted:
        if policy.model not in self._numbers:
            self._made += 1
            self._numbers[policy.model] = self._made
        return Wanted(policy.name, self._numbers[policy.model], policy.version, frozenset(self._numbers.values()))

    def _news(self, member: Member, wanted: Wanted) -> Any:
        """A reference to the weights, or None for a member that has them."""
        held = self._held.setdefault(member, {})
        if held.get(wanted.number) == wanted.version.ref:
            return None
        key = (wanted.number, wanted.version.ref)
        if self._stored is None or self._stored[0] != key:
            import ray

            assert self._policy is not None
            self._stored = None
            self._stored = key, ray.put(packed(self._policy.model))
        self._held[member] = {n: v for n, v in held.items() if n in wanted.alive} | {wanted.number: wanted.version.ref}
        return self._stored[1]


class Replica:
    """The actor: engines of the spec, made when first asked, and a copy of every policy object it was sent."""

    def __init__(self, engines: Mapping[str, Any], policies: Mapping[str, Any]):
        """`engines`, `policies`: nodes of the spec, of those that roles have served here."""
        self._nodes, self._models = engines, policies
        self._engines: dict[str, Engine] = {}
        self._policies: dict[int, LivePolicy] = {}
        self._loaded: dict[str, LivePolicy] = {}

    def hello(self, surroundings: Surroundings) -> Where:
        """Begin."""
        surroundings.enter()
        return Where.here()

    def warm(self) -> None:
        """Load the policies ahead of the first request, while the main rank loads its own. What goes wrong is told by `serve`."""
        from ..spec import build

        with suppress(Exception):
            for name, node in self._models.items():
                self._loaded[name] = build(node).load(name)

    def serve(self, engine: str, wanted: Wanted, weights: Mapping[str, Any] | None, verb: str, requests: list[Any],
              *more: Any) -> list[Any] | SelfevoError:  # fmt: skip
        """What the engine answers for that policy, with these weights where there are any. Its own errors are returned, not raised."""
        from ..spec import build

        try:
            if engine not in self._engines:
                self._engines[engine] = build(self._nodes[engine])
            self._engines[engine].load(self._policy(wanted, weights))
            return list(getattr(self._engines[engine], verb)(requests, *more))
        except SelfevoError as error:
            return error

    def _policy(self, wanted: Wanted, weights: Mapping[str, Any] | None) -> LivePolicy:
        from ..spec import build

        like = [p for p in self._policies.values() if p.name == wanted.policy]
        unused = [p for n, p in self._policies.items() if n not in wanted.alive and p.name == wanted.policy]
        self._policies = {n: p for n, p in self._policies.items() if n in wanted.alive}
        if wanted.number not in self._policies:
            again = [p for p in unused if p.version.ref != wanted.version.ref]  # for an engine that knows weights by model and version
            if again:
                made = again[0]
            elif like:
                made = like[0].fork()
            elif wanted.policy in self._loaded:
                made = self._loaded.pop(wanted.policy)
            else:
                made = build(self._models[wanted.policy]).load(wanted.policy)
            self._policies[wanted.number] = made
        policy = self._policies[wanted.number]
        if weights is not None:
            unpack(weights, policy.model)
            policy.version = wanted.version
        return policy


def blocks(requests: Sequence[Any], count: int) -> list[Sequence[Any]]:
    """At most `count` consecutive blocks of about equal size, none of them empty. Equal neighbouring contexts stay together, since they
    share their prefill, unless that would move a border by more than half a block."""
    n = len(requests)
    cuts = [0]
    for i in range(1, count):
        at, reach = n * i // count, n // (2 * count)
        near = sorted(range(max(1, at - reach), min(n - 1, at + reach) + 1), key=lambda j: abs(j - at))
        cuts.append(next((j for j in near if requests[j].context != requests[j - 1].context), at))
    cuts.append(n)
    return [requests[a:b] for a, b in pairwise(cuts) if a < b]


def _of_the_whole(error: SelfevoError, before: int) -> SelfevoError:
    """An error that names a request by its place in a block, with its place among all requests."""
    text = re.sub(r"\brequest (\d+)", lambda m: f"request {int(m[1]) + before}", str(error))
    return type(error)(text) if type(error) is EngineError else error


def moving(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors that can differ between versions: all of them, or those of the adapter. Shared ones come once."""
    adapted = is_adapted(model)
    for name, tensor in model.named_parameters():
        if not adapted or "lora_" in name or "modules_to_save" in name:
            yield name, tensor
    for name, tensor in model.named_buffers():
        module, _, leaf = name.rpartition(".")
        if not adapted and leaf not in model.get_submodule(module)._non_persistent_buffers_set:
            yield name, tensor


def packed(model: Any) -> dict[str, Any]:
    """{name: its bytes as an array}: what Ray's store keeps once per node and members read without a copy."""
    import torch

    return {name: t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy() for name, t in moving(model)}


def unpack(weights: Mapping[str, Any], model: Any) -> None:
    """Write them into a model of the same architecture and precision. Raises EngineError when it is not."""
    import torch

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the store's arrays are read-only, and here they are only read
        mine = dict(moving(model))
        for name, tensor in mine.items():
            data = weights.get(name)
            if data is None or data.nbytes != tensor.numel() * tensor.element_size() or len(mine) != len(weights):
                raise EngineError(f"engine replicas: the policy they loaded does not have the weights of the run's ('{name}' differs)")
            tensor.copy_(torch.from_numpy(data).view(tensor.dtype).reshape(tensor.shape))
