"""Loss and gradient equal those of TRL 1.16's own trainers on the same batch."""

from __future__ import annotations

import pytest
import torch

from selfevo.objectives import KL, NLL, Cispo, ClippedRatio, PolicyGradient

trl = pytest.importorskip("trl")

LENGTH = 13


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<pad>": 0, "<eos>": 1, **{f"w{i}": i for i in range(2, 23)}}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


@pytest.fixture(scope="module")
def trainers(tokenizer, tmp_path_factory):
    """Trainers by class name, each built once around a model of its own."""
    from datasets import Dataset

    data = Dataset.from_list([{"prompt": "w2 w3"}] * 8)
    options = {"per_device_train_batch_size": 8, "num_generations": 8, "use_cpu": True, "report_to": "none", "bf16": False, "beta": 0.0}
    built = {}

    def get(name, model):
        if name not in built:
            config = getattr(trl, f"{name}Config")(str(tmp_path_factory.mktemp(name)), **options, temperature=0.7)
            trainer = getattr(trl, f"{name}Trainer")
            built[name] = trainer(model, lambda completions, **_: [0.0] * len(completions), config, data, processing_class=tokenizer)
        trainer = built[name]
        trainer.model.load_state_dict(model.state_dict())
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        return trainer

    return get


@pytest.fixture(scope="module")
def problem():
    """The module's weights, samples and reference, drawn once."""
    cache = {}

    def get(bench):
        if not cache:
            policy = bench.policy(dtype=torch.float64)
            samples = bench.samples(8, adv=bench.gaussian)
            samples = [s.with_columns(temperature=0.7) for s in samples]
            cache["samples"] = bench.sampled(samples, bench.near(policy, 0.03))
            cache["base"] = bench.near(policy, 0.02, seed=5)
        return cache["samples"], cache["base"]

    return get


def inputs_of(bench, samples, base):
    """The dict that TRL's `_compute_loss` reads: left-padded prompts, right-padded completions."""
    C, T = max(len(s.contexts["train"]) for s in samples), max(len(s.response) for s in samples)

    def stack(rows, width, left=False, dtype=torch.int64):
        return torch.tensor([[0] * (width - len(r)) + list(r) if left else list(r) + [0] * (width - len(r)) for r in rows], dtype=dtype)

    prompts, responses = [s.contexts["train"] for s in samples], [s.response for s in samples]
    return {
        "prompt_ids": stack(prompts, C, left=True),
        "prompt_mask": stack([[1] * len(p) for p in prompts], C, left=True),
        "completion_ids": stack(responses, T),
        "completion_mask": stack([[1] * len(r) for r in responses], T),
        "advantages": torch.tensor([s.columns["adv"] for s in samples]),
        "old_per_token_logps": stack([s.columns["logp:sampler"] for s in samples], T, dtype=torch.float32),
        "ref_per_token_logps": stack([s.columns["logp:sampler"] for s in bench.sampled(samples, base)], T, dtype=torch.float32),
        "old_logps": torch.tensor([sum(s.columns["logp:sampler"]) for s in samples]),
        "num_items_in_batch": torch.tensor(sum(map(len, responses))),
    }


def flat(named):
    return torch.cat([p.grad.reshape(-1).double() for _, p in sorted(named, key=lambda x: "model." + x[0])])


def ours(bench, samples, objective, policies):
    """Loss and flat gradient, over micro-batches of a few rows."""
    ctx = bench.Context(policies)
    policy = bench.policy(dtype=torch.float64)
    learner = bench.learner(samples, objective, clip_norm=None, lr=0.0, betas=(0.0, 0.999), micro_tokens=50)
    learner.update(policy, [], ctx)
    moments = learner.state_dict()["learned"]["weights"]["moments"]
    return ctx.metrics["train/loss"], torch.cat([moments[n]["exp_avg"].reshape(-1).double() for n in sorted(moments)])


def theirs(trainer, inputs):
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.item(), flat(trainer.model.named_parameters())


def agree(mine, other, tolerance=1e-6):
    assert mine[0] == pytest.approx(other[0], abs=tolerance * max(1.0, abs(other[0])))
    assert other[1].abs().max() > 0.01
    # TRL's output layer rounds to single precision even here, so entries above 1 carry a relative error.
    assert (mine[1] - other[1]).abs().max() <= tolerance * max(1.0, other[1].abs().max())


CASES = {
    "grpo": ("token", lambda: ClippedRatio("adv", low=0.2, high=0.2, reduce="rows"), "rows", None),
    "bnpo": ("token", lambda: ClippedRatio("adv", low=0.2, high=0.2, reduce="tokens"), "tokens", None),
    "dr_grpo": ("token", lambda: ClippedRatio("adv", low=0.2, high=0.2, reduce="constant", length=LENGTH), "constant", LENGTH),
    "dapo": ("token", lambda: ClippedRatio("adv", low=0.2, high=0.28, reduce="tokens"), "tokens", None),
    "cispo": ("token", lambda: Cispo("adv", high=0.28, reduce="tokens"), "tokens", None),
    "gspo": ("sequence", lambda: ClippedRatio("adv", low=0.02, high=0.03, ratio="sequence", reduce="rows"), "rows", None),
    "dual_clip": ("token", lambda: ClippedRatio("adv", low=0.2, high=0.2, dual_clip=1.3, reduce="rows"), "rows", None),
}


@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize("name", CASES)
def test_policy_losses_equal_grpo_trainer(bench, trainers, problem, name, beta):
    level, make, reduce, length = CASES[name]
    samples, base = problem(bench)
    trainer = trainers("GRPO", bench.model(dtype=torch.float64))
    term = make()
    trainer.loss_type = {"gspo": "grpo", "dual_clip": "grpo"}.get(name, name)
    trainer.importance_sampling_level, trainer.beta, trainer.max_completion_length = level, beta, LENGTH
    trainer.epsilon_low, trainer.epsilon_high = term.low, 1 + term.high if name == "cispo" else term.high
    trainer.args.delta, trainer.args.steps_per_generation = (1.3 if name == "dual_clip" else None), 1
    trainer.args.use_bias_correction_kl = False
    mine = ours(bench, samples, {"pg": term, "kl": KL("solver@base", coef=beta, reduce=reduce, length=length)}, {"solver@base": base})
    agree(mine, theirs(trainer, inputs_of(bench, samples, base)))


def test_corrected_kl_equals_grpo_trainer(bench, trainers, problem):
    samples, base = problem(bench)
    trainer = trainers("GRPO", bench.model(dtype=torch.float64))
    trainer.loss_type, trainer.importance_sampling_level, trainer.beta, trainer.args.delta = "grpo", "token", 0.05, None
    trainer.epsilon_low = trainer.epsilon_high = 0.2
    trainer.args.use_bias_correction_kl = True
    kl = KL("solver@base", coef=0.05, reduce="rows", correct="sampler")
    mine = ours(bench, samples, {"pg": ClippedRatio("adv", reduce="rows"), "kl": kl}, {"solver@base": base})
    agree(mine, theirs(trainer, inputs_of(bench, samples, base)))


def test_product_ratio_equals_rloo_trainer(bench, trainers, problem):
    samples, base = problem(bench)
    trainer = trainers("RLOO", bench.model(dtype=torch.float64))
    mine = ours(bench, samples, {"pg": ClippedRatio("adv", ratio="product", reduce="rows")}, {})
    # exp of a sum of up to eleven log-probs near -5, which TRL rounds to single precision one by one
    agree(mine, theirs(trainer, inputs_of(bench, samples, base)), tolerance=5e-6)


def test_reinforce_gradient_equals_rloo_trainer_on_policy(bench, trainers, problem):
    samples, base = problem(bench)
    trainer = trainers("RLOO", bench.model(dtype=torch.float64))
    inputs = inputs_of(bench, samples, base)
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    with torch.no_grad():
        logps = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, inputs["completion_ids"].shape[1])[0]
    inputs["old_logps"] = (logps * inputs["completion_mask"]).sum(1)
    other = theirs(trainer, inputs)
    mine = ours(bench, samples, {"pg": PolicyGradient("adv")}, {})
    agree((other[0], mine[1]), other)  # the losses differ by construction, the gradients do not


def test_nll_equals_sft_trainer(bench, tokenizer, problem, tmp_path):
    from datasets import Dataset

    samples, _ = problem(bench)
    samples = [s.with_columns(temperature=1.0) for s in samples]
    config = trl.SFTConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none", per_device_train_batch_size=8)
    rows = [{"prompt": "w2 w3", "completion": " w4"}] * 8
    trainer = trl.SFTTrainer(bench.model(dtype=torch.float64), config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    width = max(len(s.contexts["train"] + s.response) for s in samples)
    ids, labels, mask = torch.zeros(8, width, dtype=torch.int64), torch.full((8, width), -100), torch.zeros(8, width, dtype=torch.int64)
    for i, s in enumerate(samples):
        start, end = len(s.contexts["train"]), len(s.contexts["train"] + s.response)
        ids[i, :end], mask[i, :end] = torch.tensor(s.contexts["train"] + s.response), 1
        labels[i, start:end] = torch.tensor(s.response)
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, {"input_ids": ids, "attention_mask": mask, "labels": labels})
    loss.backward()
    agree(ours(bench, samples, {"nll": NLL()}, {}), (loss.item(), flat(trainer.model.named_parameters())))
