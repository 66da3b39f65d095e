"""Tiny random checkpoints of several architectures, each with a char tokenizer and a chat template in its family's manner."""

from __future__ import annotations

from pathlib import Path

ROLE = "{{ m['role'] }}"
TEMPLATES = {
    # A default system prompt, as Qwen2.5 has, and thinking that is dropped from earlier turns, as in Qwen3.
    "chatml": (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
        "{% for m in messages %}<|im_start|>" + ROLE + "\n"
        "{% if m['role'] == 'assistant' and not loop.last %}{{ m['content'].split('</think>')[-1] }}"
        "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "llama3": (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>" + ROLE + "<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
        "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
    ),
    # Another name for the assistant, no system turn, strict alternation.
    "gemma": (
        "{{ bos_token }}{% for m in messages %}"
        "{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
        "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    ),
    # No mark where the assistant begins; a space before the end token.
    "mistral": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% else %} {{ m['content'] }} </s>{% endif %}{% endfor %}"
    ),
    "olmo": (
        "{% for m in messages %}<|" + ROLE + "|>\n{{ m['content'] }}{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
}
SPECIAL = [
    "<pad>", "<bos>", "<eos>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "</s>",
]  # fmt: skip
EOS = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>", "gemma": "<eos>", "mistral": "</s>", "olmo": "<eos>"}


def write_tokenizer(path: Path, template: str = "chatml", pad: str | None = "<pad>", **changes):
    """A tokenizer with one id per printable ASCII character."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    chars = ["\n", *map(chr, range(32, 127))]
    raw = Tokenizer(models.WordLevel({t: i for i, t in enumerate([*SPECIAL, *chars])}, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    names = {"pad_token": pad, "bos_token": "<bos>", "eos_token": EOS[template], **changes}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, additional_special_tokens=SPECIAL, **{k: v for k, v in names.items() if v})
    tokenizer.chat_template = TEMPLATES[template]
    tokenizer.save_pretrained(path)
    return tokenizer


SIZE = {
    "vocab_size": len(SPECIAL) + 96,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "pad_token_id": 0,
}
WINDOW = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
FAMILIES = {
    "Qwen3": ("chatml", {}),
    "Qwen2": ("chatml", {}),
    "Llama": ("llama3", {}),
    "Gemma2": ("gemma", {**WINDOW, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8}),
    "Gemma3Text": ("gemma", {**WINDOW, "query_pre_attn_scalar": 8}),
    "Olmo3": ("olmo", WINDOW),
    "Mistral": ("mistral", {"sliding_window": None}),
}


def write_checkpoint(path: Path, family: str = "Qwen3", seed: int = 0, spread: float = 0.4, **tokenizer) -> Path:
    """A random model of a family with its tokenizer. `spread` is the standard deviation of its weights: with little, every token is about
    as likely as any other; with much, greedy choices are no near ties."""
    import torch
    import transformers

    template, extra = FAMILIES[family]
    size = {k: v for k, v in SIZE.items() if not (k == "head_dim" and family in ("Qwen2", "Olmo3"))}
    saved = write_tokenizer(path, template, **tokenizer)
    config = getattr(transformers, f"{family}Config")(**size, **extra, eos_token_id=saved.eos_token_id)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" not in name:
                tensor.normal_(0.0, spread)
    model.save_pretrained(path)
    return path
