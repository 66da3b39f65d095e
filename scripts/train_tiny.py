"""Train the bundled tiny policy from scratch on noisy demonstrations: `python scripts/train_tiny.py --minutes 60 --out DIR --seed 0`.

One or two CPU cores suffice. The learning rate falls linearly to zero over `--minutes` (or over `--steps`, which makes the run
repeatable bit for bit). Hidden matrices are trained with Muon (Jordan et al. 2024), the rest with AdamW.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tiny_check import accuracy
from tiny_demos import MIXES, Demo, draw
from tiny_model import new_model, new_tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from selfevo.seeds import derive, rng


def encode(demo: Demo, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], int]:
    """Ids of the whole conversation, and how many of them (the last ones) are the reply with its end token."""
    chat = [{"role": m.role, "content": m.content} for m in demo.messages]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    reply = [*tokenizer.encode(demo.reply, add_special_tokens=False), tokenizer.eos_token_id]
    return prompt + reply, len(reply)


def batches(
    tokenizer: PreTrainedTokenizerBase, tokens: int, seed: int, mix: str = "first", pool: int = 2048
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches (ids [B, T], mask [B, T-1] of the predictions that are trained), of like lengths and at most `tokens` ids."""
    number = 0
    while True:
        random_ = rng(seed, "demos", *([mix] if mix != "first" else []), number)
        number += 1
        rows = sorted((encode(draw(random_, MIXES[mix]), tokenizer) for _ in range(pool)), key=lambda row: len(row[0]))
        cut: list[list[tuple[list[int], int]]] = [[]]
        for row in rows:
            if len(row[0]) * (len(cut[-1]) + 1) > tokens:
                cut.append([])
            cut[-1].append(row)
        random_.shuffle(cut)
        for group in cut:
            yield pad(group, tokenizer.pad_token_id)


def pad(group: list[tuple[list[int], int]], fill: int) -> tuple[Tensor, Tensor]:
    """Rows padded on the right: ids [B, T] int64 and mask [B, T-1] float, 1 where the next id belongs to the reply."""
    longest = max(len(ids) for ids, _ in group)
    ids = torch.full((len(group), longest), fill)
    mask = torch.zeros(len(group), longest - 1)
    for i, (row, reply) in enumerate(group):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, len(row) - reply - 1 : len(row) - 1] = 1
    return ids, mask


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by five Newton-Schulz steps (Jordan et al. 2024), in float32 with equal shapes in one batch.

    The update has the RMS of an AdamW step (times 0.2 * sqrt(longer side), Liu et al. 2025, section 2.2).
    """

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        group = self.param_groups[0]
        shapes: dict[torch.Size, list[Tensor]] = {}
        for p in group["params"]:
            shapes.setdefault(p.shape, []).append(p)
        for shape, params in shapes.items():
            for p in params:
                m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - group["momentum"])
            x = torch.stack([p.grad.lerp(self.state[p]["momentum"], group["momentum"]) for p in params])
            x = orthogonal(x) * 0.2 * max(shape) ** 0.5
            for p, update in zip(params, x, strict=True):
                p.mul_(1 - group["lr"] * group["decay"]).sub_(update, alpha=group["lr"])


def orthogonal(x: Tensor) -> Tensor:
    """Nearly the orthogonal factor of each matrix in x [N, A, B]: five quintic Newton-Schulz steps."""
    tall = x.size(1) > x.size(2)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return x.mT if tall else x


def optimizers(model: nn.Module, muon: bool, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for hidden matrices and AdamW for embeddings and norms, or AdamW for all."""
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    adamw = {"betas": (0.9, 0.95), "weight_decay": 0.01, "fused": True}
    if not muon:
        return [torch.optim.AdamW(hidden + others, lr=lr, **adamw)]
    return [Muon(hidden, lr=lr), torch.optim.AdamW(others, lr=lr, **adamw)]


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Write the policy beside `out` and rename it into place, keeping a README that is already there."""
    beside = out.with_name(out.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside)
    tokenizer.save_pretrained(beside)
    out.mkdir(parents=True, exist_ok=True)
    for path in beside.iterdir():
        path.replace(out / path.name)
    beside.rmdir()


def main() -> None:
    """Parse the command line and train."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--out", type=Path, required=True, help="directory of the policy (Hugging Face format)")
    cli.add_argument("--minutes", type=float, default=60.0, help="wall-clock budget; ignored when --steps is given")
    cli.add_argument("--steps", type=int, help="number of optimizer steps, for a repeatable run")
    cli.add_argument("--seed", type=int, default=0)
    cli.add_argument("--tokens", type=int, default=3072, help="ids per optimizer step, padding included")
    cli.add_argument("--lr", type=float, default=0.01)
    cli.add_argument("--mix", choices=sorted(MIXES), default="first", help="shares of roles and families (tiny_demos.MIXES)")
    cli.add_argument("--start", type=Path, help="a saved policy to go on from, in place of random weights")
    cli.add_argument("--adamw", action="store_true", help="AdamW for every weight, in place of Muon")
    cli.add_argument("--check", type=float, default=5.0, help="minutes between accuracy checks and saves")
    args = cli.parse_args()
    torch.set_flush_denormal(True)
    torch.manual_seed(derive(args.seed, "weights"))
    tokenizer = new_tokenizer()
    model = new_model(tokenizer) if args.start is None else AutoModelForCausalLM.from_pretrained(args.start)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens", flush=True)
    train(model, tokenizer, args)
    save(model, tokenizer, args.out)


def train(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, args: argparse.Namespace, final: int = 64) -> None:
    """Optimise, printing loss and speed; check and save every `args.check` minutes, and check `final` tasks a level at the end."""
    opts = optimizers(model, not args.adamw, args.lr)
    model.train()
    start = checked = time.monotonic()
    seen, window = 0, []
    for step, (ids, mask) in enumerate(batches(tokenizer, args.tokens, args.seed, args.mix)):
        spent = (time.monotonic() - start) / 60
        done = step / args.steps if args.steps else spent / args.minutes
        if done >= 1:
            break
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = args.lr * min(1.0, (step + 1) / 50) * (1 - done)
        hidden = model.model(input_ids=ids).last_hidden_state[:, :-1][mask.bool()]
        loss = F.cross_entropy(model.lm_head(hidden), ids[:, 1:][mask.bool()])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        seen += ids.numel()
        window.append(loss.item())
        if step % 50 == 49:
            print(f"step {step + 1} minutes {spent:.1f} loss {sum(window) / len(window):.4f} tokens {seen:,} "
                  f"tokens/s {seen / (time.monotonic() - start):.0f}", flush=True)
            window = []
        if time.monotonic() - checked > args.check * 60:
            print("accuracy", {k: round(v, 2) for k, v in accuracy(model, tokenizer, 24).items()}, flush=True)
            save(model, tokenizer, args.out)
            checked = time.monotonic()
    print(f"done: {step} steps, {seen:,} tokens, {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    if final:
        print("accuracy", {k: round(v, 2) for k, v in accuracy(model, tokenizer, final).items()}, flush=True)


if __name__ == "__main__":
    main()
