"""Text as it grows, against the whole text decoded at once."""

import pytest

from spearhead.runtimes.openvino.pieces import Growing, Pieces


def grown(text: bytes, stops: tuple[str, ...] = ()) -> tuple[list[str], Growing]:
    growing = Growing(stops)
    return [growing.feed(bytes([byte])) for byte in text], growing


def test_a_character_is_said_once_it_is_whole() -> None:
    said, growing = grown("aé😀中".encode())
    assert said == ["a", "", "é", "", "", "", "😀", "", "", "中"]
    assert growing.rest() == ""
    said, growing = grown("a😀".encode()[:-1])
    assert "".join(said) + growing.rest() == "a", "half a character is never said"


def test_bytes_that_are_no_character_do_not_hold_up_the_rest() -> None:
    said, growing = grown(b"a\xff\x80b\xc3(")
    assert "".join(said) + growing.rest() == b"a\xff\x80b\xc3(".decode("utf-8", "replace")


def test_what_may_begin_a_stop_text_is_held_back_and_given_when_it_does_not() -> None:
    said, growing = grown(b"one enough two", ("end",))
    assert "".join(said) + growing.rest() == "one enough two" and "e" not in said[3:5]
    said, growing = grown(b"one en", ("end",))
    assert ("".join(said), growing.rest(), growing.stopped) == ("one ", "en", False)
    said, growing = grown(b"one end", ("end", "dd"))
    assert ("".join(said), growing.rest(), growing.stopped) == ("one ", "", True)
    growing = Growing(("b", "abc"))
    assert growing.feed(b"xabcx") == "x" and growing.stopped, "the first to begin counts"


def test_a_vocabulary_gives_bytes_and_ends() -> None:
    pieces = Pieces(
        {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.tokens": ["<|im_end|>", "<s>", "Ġthe", "Ã", "<tool>", "<|endoftext|>"],
            "tokenizer.ggml.token_type": [3, 3, 1, 1, 4, 1],
            "tokenizer.ggml.eos_token_id": 1,
        }
    )
    assert pieces.bytes == [b"", b"", b" the", b"\xc3", b"<tool>", b"<|endoftext|>"]
    assert pieces.ends == {0, 1}, "text that looks like a marker is not one"
    with pytest.raises(ValueError, match="tokenizer is 'llama'"):
        Pieces({"tokenizer.ggml.model": "llama"})
