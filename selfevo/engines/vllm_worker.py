"""What selfevo adds to vLLM's workers: vLLM imports this in the process of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Taking:
    """A mixin for vLLM's worker class (its `worker_extension_cls`)."""

    reload_weights: Any
    get_model: Any

    def take_weights(self, folder: str | None = None, tensors: Iterator[tuple[str, Any]] | None = None) -> None:
        """New weights from a checkpoint's folder, or from (name there, tensor) pairs.

        On a CPU vLLM 0.32 computes with copies that are packed for its kernels, and reloading does not renew the one of an output
        layer tied to the embedding: replies would then come from new layers under an old output layer.
        """
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

        self.reload_weights(weights_path=folder, weights_iterator=tensors)
        for layer in self.get_model().modules():
            if isinstance(layer, ParallelLMHead) and hasattr(layer, "cpu_linear"):
                layer.quant_method.process_weights_after_loading(layer)
