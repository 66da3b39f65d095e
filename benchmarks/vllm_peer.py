"""vLLM's end of the pipe. Runs under the Python of vLLM's own environment: `python vllm_peer.py MODEL_FOLDER THREADS`.

In: {"contexts": [[ids]], "limits": [tokens]} a line. Out: {"ready": true} once, then {"lengths": [tokens]} a line. Time is taken
by who asks, so that both sides pay for handing over requests and taking back tokens.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def start(folder: str, threads: int) -> Any:
    """The engine in this process. It compiles the model, which makes it up to 1.7 times as fast; SELFEVO_VLLM_EAGER=1 leaves that out."""
    import torch
    from vllm import LLM

    torch.set_num_threads(threads)
    return LLM(
        model=folder, dtype="float32", max_model_len=1024, max_num_seqs=512, enforce_eager=os.environ.get("SELFEVO_VLLM_EAGER") == "1",
        enable_prefix_caching=True, disable_log_stats=True, seed=0,
    )  # fmt: skip


def answer(llm: Any, contexts: list[list[int]], limits: list[int]) -> list[int]:
    """Reply lengths. End tokens are ignored, so every reply is as long as it was asked to be."""
    from vllm import SamplingParams, TokensPrompt

    sampling = [SamplingParams(max_tokens=n, temperature=1.0, top_p=1.0, top_k=-1, ignore_eos=True) for n in limits]
    outputs = llm.generate([TokensPrompt(prompt_token_ids=c) for c in contexts], sampling, use_tqdm=False)
    return [len(o.outputs[0].token_ids) for o in outputs]


def main() -> None:
    """Serve until the input ends. Whatever vLLM prints goes to stderr, so that the pipe carries answers only."""
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    llm = start(sys.argv[1], int(sys.argv[2]))

    def say(message: dict[str, Any]) -> None:
        pipe.write(json.dumps(message) + "\n")
        pipe.flush()

    say({"ready": True})
    for line in sys.stdin:
        message = json.loads(line)
        say({"lengths": answer(llm, message["contexts"], message["limits"])})


if __name__ == "__main__":
    main()
