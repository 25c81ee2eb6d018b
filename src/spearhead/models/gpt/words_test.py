"""Vocabularies of one's own: every text goes in and comes out, markers are never made of a person's words."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spearhead.core.errors import InputError
from spearhead.core.template import Segment, Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.gpt import words
from spearhead.models.gpt.config import Config, whole

POEM = "床前明月光，疑是地上霜。\n舉頭望明月，低頭思故鄉。"
PLAIN = Template(style="plain", before="<|title|>", after="<|poem|>", stop="<|end|>")


def made(text: str, **config: object) -> Tokenizer:
    return Tokenizer(words.make([text], Config(**config), template=PLAIN))  # type: ignore[arg-type]


def test_each_character_is_one_token_in_any_script() -> None:
    tokenizer = made(POEM + "plain é 😀")
    assert len(tokenizer.encode(POEM, special=False)) == len(POEM)
    assert len(tokenizer.encode("é😀 plain", special=False)) == 8


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    tokenizer = made(POEM)
    assert tokenizer.decode(tokenizer.encode(text, special=False)) == text


def test_plain_letters_need_no_merge_but_a_file_for_llamacpp_has_one() -> None:
    content = words.make(["to be"], Config(), template=PLAIN)
    assert len(json.loads(content)["model"]["merges"]) == 1
    tokenizer = Tokenizer(content)
    assert len(tokenizer.encode("to be", special=False)) == 5
    assert tokenizer.size == 256 + 1 + 3


def test_markers_of_the_template_are_one_token_and_nobody_can_type_them() -> None:
    tokenizer = made(POEM)
    prompt = tokenizer.encode_segments(PLAIN.single("<|end|>"))
    assert prompt[0] == tokenizer.id("<|title|>") and prompt[-1] == tokenizer.id("<|poem|>")
    assert tokenizer.id("<|end|>") not in prompt and len(prompt) == 2 + len("<|end|>")
    chat = Tokenizer(words.make(["hello user assistant\n"], Config(), template=Template()))
    assert len(chat.encode_segments([Segment("<|im_start|>user\n", True)])) == 1 + 5


def test_frequent_pieces_become_tokens() -> None:
    text = "the cat sat on the mat, and the other cat, whose name nobody knew, watched from the window. " * 20
    tokenizer = made(text, words="bytes-bpe", vocabulary=300)
    assert tokenizer.size == 300 + 3
    ids = tokenizer.encode(text, special=False)
    assert len(ids) < len(text) / 2 and tokenizer.decode(ids) == text


def test_what_cannot_be_a_vocabulary_is_refused() -> None:
    with pytest.raises(InputError, match="the training texts are empty"):
        words.make([""], Config(), template=PLAIN)
    with pytest.raises(InputError, match="more than the 256 bytes"):
        words.make(["text"], Config(words="bytes-bpe", vocabulary=100), template=PLAIN)


def test_the_dial_gives_every_size_and_what_does_not_fit_is_refused() -> None:
    full = whole(Config(depth=4))
    assert (full.width, full.heads, full.key_heads, full.inner) == (128, 4, 4, 320)
    assert whole(Config(depth=12)).width == 384
    assert whole(Config(depth=4, width=96)).heads == 3
    for config, why in (
        (Config(depth=0), "model.depth is 0"),
        (Config(width=100, heads=3), "does not divide into 3 heads"),
        (Config(heads=4, key_heads=3), "wanted a divisor of the 4 heads"),
        (Config(dropout=1.0), "model.dropout is 1.0"),
        (Config(context=1 << 20), "model.context is 1048576"),
    ):
        with pytest.raises(InputError, match=why):
            whole(config)
