"""Any OpenAI-compatible endpoint, for roles that nobody trains: judges, teachers, simulators. Constructing it imports no client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import EngineError, UserError, nearest
from ..protocols import Completion, GenerateRequest, ScoreRequest, TokenScores
from .endpoint import keys
from .endpoint.answers import Answers
from .endpoint.ask import CONTINUE, SEEDS, Answer, Ask, chat, cut
from .endpoint.bill import Bill
from .endpoint.pace import Pace

if TYPE_CHECKING:  # asyncio comes with it
    from .endpoint.client import Client

LIMIT_KEYS = ("max_tokens", "max_completion_tokens")
PREFILLS = ("refuse", "continue")


class OpenAI:
    """Generates by asking for chat completions, for a policy whose codec keeps messages (`models.Endpoint`).

    Replies come as text and become ids of that codec; nothing is known of their probabilities, so nothing can be scored or trained on.
    A request's seed is sent along, but no endpoint promises the same answer twice; the cache does. With `cache` on, a request that was
    answered before (same address, body and seed) is not sent again, in this run or in any other.
    """

    capabilities = frozenset({"generate"})
    logprobs = False
    needs_messages = True

    def __init__(
        self,
        model: str,
        base_url: str = "https://api.openai.com/v1",
        key_env: str | None = "OPENAI_API_KEY",
        concurrency: int = 8,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout: float = 120.0,
        retries: int = 5,
        give_up: float = 900.0,
        cache: str | None = "~/.cache/selfevo/answers",
        prompt_price: float = 0.0,
        completion_price: float = 0.0,
        send_seed: bool = True,
        limit_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        prefill: Literal["refuse", "continue"] = "refuse",
        body: Mapping[str, Any] | None = None,
        api_key: Any = None,
    ):
        """
        model: its name at the endpoint. base_url: address up to and with /v1.
        key_env: environment variable that holds the key; null for an endpoint that wants none.
        concurrency: requests under way at a time.
        requests_per_minute, tokens_per_minute: the provider's limits, kept by spacing requests evenly; null: none.
        timeout: seconds without a sign of the endpoint after which a request is tried again. retries: further tries of a request.
        give_up: seconds for one request in all, with its tries and the waits between them.
        cache: folder of answers; null asks always.
        prompt_price, completion_price: per million tokens, in any currency, for the metric `cost`.
        send_seed: false for endpoints that know no seed. limit_key: name of the longest reply in the request.
        prefill: what to do with a reply that has a beginning already: "continue" asks as vLLM and SGLang want it; others cannot.
        body: further keys of the request, which override; null takes one out.
        api_key: refused, whatever it is: keys never stand in a spec.
        """
        if api_key is not None:
            raise UserError(f"api_key: {keys.HOW}")
        keys.refuse("model", model)
        keys.refuse("body", body)
        self.model, self.url, self.key_env = model, keys.checked_url(base_url), keys.checked_variable(key_env)
        for name, value, least in (("concurrency", concurrency, 1), ("retries", retries, 0)):
            if value < least:
                raise UserError(f"{name} must be at least {least}, got {value}")
        minute = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute}
        for name, limit in {**minute, "timeout": timeout, "give_up": give_up}.items():
            if limit is not None and not limit > 0:
                raise UserError(f"{name} must be above 0, got {limit}")
        for name, price in {"prompt_price": prompt_price, "completion_price": completion_price}.items():
            if not price >= 0:
                raise UserError(f"{name} must be 0 or more, got {price}")
        for name, word, valid in (("limit_key", limit_key, LIMIT_KEYS), ("prefill", prefill, PREFILLS)):
            if word not in valid:
                raise UserError(f"{name} '{word}' is not known{nearest(word, valid)}")
        self.concurrency, self.timeout, self.retries, self.give_up = concurrency, timeout, retries, give_up
        self.send_seed, self.limit_key, self.prefill, self.body = send_seed, limit_key, prefill, dict(body or {})
        self._paces = Pace(requests_per_minute), Pace(tokens_per_minute)
        self._bill = Bill(prompt_price, completion_price)
        self._answers = None if cache is None else Answers(Path(cache).expanduser(), self._bill.damaged)
        self._codec: Any = None

    def load(self, policy: Any) -> None:
        """Answer for this policy from now on. Raises UserError for one whose ids hold no messages."""
        if not hasattr(policy.codec, "messages"):
            raise UserError(f"policy '{policy.name}' ({policy.source}) keeps no messages to ask an endpoint with; use model=endpoint")
        self._codec = policy.codec

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """One completion per request, in order, log-probs None. Raises EngineError naming the request that the endpoint did not answer;
        answers that came before it are in the cache."""
        if self._answers is not None:
            self._answers.prepare()
        asks = [self._ask(index, request) for index, request in enumerate(requests)]
        answers = [self._kept(ask) for ask in asks]
        missing = [ask for ask, kept in zip(asks, answers, strict=True) if kept is None]
        if missing:
            from .endpoint.beside import beside

            client = self._client()
            for ask, given in zip(missing, beside(lambda: client.all(missing, self._arrived)), strict=True):
                answers[ask.index] = given
        return [self._completion(r, given) for r, given in zip(requests, answers, strict=True) if given is not None]

    def score(
        self, requests: Sequence[ScoreRequest], want: Literal["sampled", "topk", "full"] = "sampled", k: int = 0
    ) -> list[TokenScores]:
        """Not possible: chat endpoints do not tell the probability of given text."""
        raise EngineError("an endpoint cannot score tokens; use engine=native for the role whose log-probs are read")

    def spent(self) -> dict[str, float]:
        """Calls, tokens and money since last asked: see `endpoint.bill.Bill`."""
        return self._bill.take()

    def _ask(self, index: int, request: GenerateRequest) -> Ask:
        if self._codec is None:
            raise EngineError("the endpoint's engine has no policy yet: load one first")
        try:
            messages = self._codec.messages(request.context)
        except ValueError as error:
            raise EngineError(f"request {index}: {error}") from error
        begun = bool(messages[-1].content)
        if begun and self.prefill == "refuse":
            said = "its reply has a beginning already, with which most endpoints cannot go on"
            raise EngineError(f"request {index}: {said}; prefill=continue asks as vLLM and SGLang want it")
        asked = chat(self.model, messages if begun else messages[:-1], request.sampling, self.limit_key)
        asked |= {"seed": request.seed % SEEDS} if self.send_seed else {}
        asked |= {**(CONTINUE if begun else {}), **self.body}
        return Ask(index, self.url, {key: value for key, value in asked.items() if value is not None}, request.seed)

    def _kept(self, ask: Ask) -> Answer | None:
        if self._answers is None:
            return None
        kept = self._answers.get(ask)
        if kept is not None:
            self._bill.cached(kept)
        return kept

    def _arrived(self, ask: Ask, answer: Answer, retries: int) -> None:
        self._bill.paid(answer, retries)
        if self._answers is not None:
            self._answers.put(ask, answer)

    def _client(self) -> Client:
        from .endpoint.client import Client, library

        library()
        requests, tokens = self._paces
        return Client(
            url=self.url, model=self.model, key=keys.read(self.key_env), key_env=self.key_env, concurrency=self.concurrency,
            timeout=self.timeout, retries=self.retries, give_up=self.give_up, requests=requests, tokens=tokens,
        )  # fmt: skip

    def _completion(self, request: GenerateRequest, answer: Answer) -> Completion:
        text, stopped = cut(answer, request.sampling.stop)
        ended = answer.finish == "stop" and not stopped
        tokens = (*self._codec.fragment(text), *(self._codec.closing if ended else ()))
        return Completion(tokens, None, text, "stop" if ended or stopped else "length")
