"""What the codec appends, turn by turn, against each family's chat template rendered whole."""

from __future__ import annotations

import pytest

from selfevo.codec import ChatCodec
from selfevo.errors import UserError
from selfevo.models import Pretrained
from selfevo.records import Message

USER = Message("user", "What is 2+2?")
REPLY = "It is 4."
MORE = [Message("user", "And 3+3?")]
FAMILIES = ["Qwen3", "Llama", "Gemma2", "Mistral", "Olmo3"]


def whole(codec, *messages):
    """Ids of the template's own rendering of a conversation, up to where the assistant speaks."""
    chat = [{"role": m.role, "content": m.content} for m in messages]
    text = codec.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    return tuple(codec.tokenizer(text, add_special_tokens=False)["input_ids"])


def end(codec):
    return codec._closing[-1:]


@pytest.mark.parametrize("family", FAMILIES)
def test_turns_appended_one_by_one_equal_the_whole_conversation(policies, family):
    codec = policies(family).codec
    reply = codec.fragment(" It is 4. " if family == "Mistral" else REPLY)
    said = (*codec.open([USER]), *reply, *end(codec), *codec.follow(MORE, ended=True))
    assert said == whole(codec, USER, Message("assistant", REPLY), *MORE)
    twice = (*said, *reply, *end(codec), *codec.follow(MORE, ended=True))
    assert twice == whole(codec, USER, Message("assistant", REPLY), *MORE, Message("assistant", REPLY), *MORE)


@pytest.mark.parametrize("family", ["Qwen3", "Llama", "Gemma2", "Olmo3"])
def test_a_turn_without_its_end_token_is_given_one(policies, family):
    codec = policies(family).codec
    said = (*codec.open([USER]), *codec.fragment(REPLY), *codec.follow(MORE, ended=False))
    assert said == whole(codec, USER, Message("assistant", REPLY), *MORE)


def test_what_follows_does_not_depend_on_thinking_that_the_template_drops(policies):
    codec = policies("Qwen3").codec
    thought, answer = "<think>2+2</think>", "It is 4."
    after = (*codec.fragment(answer), *end(codec), *codec.follow(MORE, ended=True))
    dropped = whole(codec, USER, Message("assistant", thought + answer), *MORE)
    assert (*codec.open([USER]), *after) == dropped
    assert codec.decode(after) == "It is 4.\nuser\nAnd 3+3?\nassistant\n"


@pytest.mark.parametrize(
    ("family", "texts"),
    [
        ("Qwen3", {"<|im_end|>"}),
        ("Llama", {"<|eot_id|>"}),
        ("Gemma2", {"<eos>", "<end_of_turn>"}),
        ("Mistral", {"</s>"}),
        ("Olmo3", {"<eos>"}),
    ],
)
def test_the_templates_own_end_token_ends_a_turn(policies, family, texts):
    codec = policies(family).codec
    assert codec.ends == {codec.tokenizer.backend_tokenizer.token_to_id(t) for t in texts}
    assert codec.ended((30, *codec.ends))
    assert not codec.ended((30,))
    assert not codec.ended(())


def test_decoding_leaves_special_tokens_out_and_text_as_it_is(policies):
    codec = policies().codec
    text = "a  b ,\n c ! it 's"
    assert codec.decode((*codec.fragment(text), *codec.ends)) == text


def test_roles_that_a_template_refuses_are_one_line(policies):
    with pytest.raises(UserError, match=r"refuses the roles \(system, user\): System role not supported") as caught:
        policies("Gemma2").codec.open([Message("system", "x"), USER])
    assert "\n" not in str(caught.value)


def test_a_template_that_drops_the_assistant_is_refused(policies):
    tokenizer = policies("Olmo3").tokenizer
    broken = ChatCodec(tokenizer, 10)
    saved, tokenizer.chat_template = (
        tokenizer.chat_template,
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
    )
    try:
        with pytest.raises(UserError, match="drops or repeats assistant turns"):
            broken.follow(MORE, ended=True)
    finally:
        tokenizer.chat_template = saved


def test_the_plain_template_puts_contents_a_line_each(checkpoint):
    codec = Pretrained(str(checkpoint("Llama")), chat_template="plain").load("solver").codec
    bos, eos = (codec.tokenizer.backend_tokenizer.token_to_id(t) for t in ("<bos>", "<|eot_id|>"))
    assert codec.open([USER]) == (bos, *codec.fragment("What is 2+2?\n"))
    assert codec.follow(MORE, ended=True) == codec.fragment("\nAnd 3+3?\n")
    assert codec.follow(MORE, ended=False) == (eos, *codec.fragment("\nAnd 3+3?\n"))


def test_pieces_are_the_text_of_each_id(policies):
    codec = policies().codec
    assert [codec.pieces[i] for i in codec.fragment("ab\n")] == ["a", "b", "\n"]
