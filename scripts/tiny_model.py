"""The bundled tiny policy before training: a character tokenizer and a Qwen3 model of about a million parameters."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

SPECIAL = {"pad": "⟨pad⟩", "unk": "⟨unk⟩", "end": "⟨end⟩", "user": "⟨user⟩", "assistant": "⟨assistant⟩", "system": "⟨system⟩"}
"""Special tokens. Their brackets are not ASCII, so no printable ASCII text contains one."""
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}⟨assistant⟩{% elif message['role'] == 'system' %}⟨system⟩{% else %}⟨user⟩{% endif %}"
    "{{ message['content'] }}⟨end⟩"
    "{% endfor %}"
    "{% if add_generation_prompt %}⟨assistant⟩{% endif %}"
)
"""One role token, the content, the end token; tool messages read as the user's."""


def new_tokenizer() -> PreTrainedTokenizerBase:
    """One token per character of printable ASCII and newline; other characters are unknown."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    names = [*SPECIAL.values(), *CHARACTERS]
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=SPECIAL["unk"]))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens(list(SPECIAL.values()))
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=SPECIAL["pad"],
        unk_token=SPECIAL["unk"],
        eos_token=SPECIAL["end"],
        additional_special_tokens=[SPECIAL["user"], SPECIAL["assistant"], SPECIAL["system"]],
        chat_template=TEMPLATE,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def new_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Random float32 weights drawn from torch's global generator; seed it first."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    return Qwen3ForCausalLM(config)
