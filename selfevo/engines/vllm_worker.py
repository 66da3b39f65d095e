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

        On a CPU vLLM 0.32 computes with copies that are packed for its kernels, and its reload forgets two kinds of them: of experts,
        which it packs only where they have no kernel yet, and of an output layer that is tied to the embedding. Replies would then
        come from old and new weights mixed.
        """
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
        from vllm.platforms import current_platform

        layers = list(self.get_model().modules()) if current_platform.is_cpu() else []
        for layer in layers:
            if getattr(getattr(layer, "quant_method", None), "moe_kernel", None) is not None:
                layer.quant_method.moe_kernel = None
        self.reload_weights(weights_path=folder, weights_iterator=tensors)
        for layer in layers:
            if isinstance(layer, ParallelLMHead) and hasattr(layer, "cpu_linear"):
                layer.quant_method.process_weights_after_loading(layer)
