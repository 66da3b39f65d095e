"""Llama-shaped decoders computed straight from their weights: one token per running reply (`step`), or a stream of tokens with
gradients (`stream`). Both are the arithmetic of transformers' modules in fewer operations; other models go through transformers."""
