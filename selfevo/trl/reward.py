"""Reward models with TRL's RewardTrainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..protocols import Builder, Number, RunCtx
from ..records import Sample
from .fit import Data, Fit, pairs


class Reward(Fit):
    """A linear head on the policy's last hidden state, fitted to pairs: l = -log sigmoid(r_chosen - r_rejected) (Bradley & Terry 1952).

    The head is `heads["reward"]` of the policy (hidden size to 1, float32, zero at first, no bias) and is saved with it. r is read at
    the last token of context and response. With `body` the policy's own layers are trained too, as TRL does; its replies then change,
    so give the reward model a policy of its own in the spec. Without, the head alone is trained, and the policy speaks as before. Pairs
    with a side longer than `args.max_length` are left out by TRL. `reward_model.rewards` reads what a policy with such a head says.

    Args:
        samples: builders of pairs (`selfevo.samples.Pairs`). Masks play no part: r is of the whole text.
        body: whether the policy's layers are trained along with the head.
        args, lr, carry: see `Fit`.
    """

    kind = "reward"

    def __init__(
        self,
        samples: Mapping[str, Builder],
        body: bool = True,
        args: Mapping[str, Any] | None = None,
        lr: Number | None = None,
        carry: bool = True,
    ):
        super().__init__(samples, args, lr, carry)
        self.body = body

    def _data(self, samples: Sequence[Sample], ctx: RunCtx) -> Data:
        found = [[[*s.contexts["train"], *s.response] for s in pair] for pair in pairs(samples, self.kind)]
        limit = self._limit()
        kept = [pair for pair in found if limit is None or max(map(len, pair)) <= limit]
        ctx.log("train/cut", len(found) - len(kept))
        return [{"chosen_ids": chosen, "rejected_ids": rejected} for chosen, rejected in kept]

    def _train(self, target: Any, data: Data, ctx: RunCtx, **settings: Any) -> None:
        from .reward_model import HEAD, fresh_head, only

        made = HEAD not in target.heads
        if made:
            target.heads[HEAD] = fresh_head(target)
        try:
            with only(target.model, trained=self.body):
                super()._train(target, data, ctx, **settings)
        except BaseException:
            if made:
                del target.heads[HEAD]
            raise

    def _model(self, target: Any, ctx: RunCtx) -> Any:
        from .reward_model import HEAD, RewardModel
        from .running import twin

        return RewardModel(twin(target.model), target.heads[HEAD])

    def _trainer(self, config: Any, model: Any, watch: Any, data: Data, target: Any, ctx: RunCtx) -> Any:
        from datasets import Dataset
        from trl import RewardTrainer

        from .running import Contained, joined

        made = joined(Contained, RewardTrainer)
        return made(model, config, train_dataset=Dataset.from_list(data), processing_class=target.tokenizer, callbacks=[watch])
