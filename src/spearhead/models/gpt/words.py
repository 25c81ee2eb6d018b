"""A vocabulary made from the training text: a byte-level BPE `tokenizer.json` that other tools read. No torch.

Characters are such a vocabulary too: the only merges put the bytes of one character together. Every text can be
written either way, since all 256 bytes are tokens; a character that training never saw costs one token for each byte.
"""

import json
import re
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from spearhead.core.errors import InputError
from spearhead.core.template import Template
from spearhead.models.gpt.config import MOST, Config

MARKER = re.compile(r"<\|[^|<>\s]{1,64}\|>")
NEVER = (0xFE, 0xFF)
"""Two bytes that no UTF-8 text holds. llama.cpp reads no vocabulary without merges: this one changes nothing."""


def make(texts: Iterable[str], config: Config, *, template: Template) -> str:
    """The content of a `tokenizer.json` for texts like these, with the markers that the template needs.

    Raises InputError when the texts are empty or have more characters than a vocabulary may have.
    """
    made = _characters(texts) if config.words == "characters" else _pairs(texts, config.vocabulary)
    markers = markers_of(template)
    made.add_special_tokens([AddedToken(marker, special=True, normalized=False) for marker in markers])
    return str(made.to_str(pretty=False))


def markers_of(template: Template) -> list[str]:
    """The template's markers, its stop first; a stop of one character is a character and no marker."""
    written = [template.before, template.after, template.system]
    if template.style == "chat":
        written += ["<|im_start|>", "<|im_end|>"]
    found = [template.stop] if len(template.stop) > 1 else []
    found += [marker for text in written for marker in MARKER.findall(text)]
    return list(dict.fromkeys(found))


def settings(content: str, *, stop: str) -> dict[str, object]:
    """What `tokenizer_config.json` says beside this `tokenizer.json`."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "eos_token": stop,
        "added_tokens_decoder": {str(t["id"]): t for t in json.loads(content)["added_tokens"]},
    }


def _tokenizer(model: models.BPE) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.decoder = decoders.ByteLevel()
    return made


def _characters(texts: Iterable[str]) -> tokenizers.Tokenizer:
    seen: set[str] = set()
    for text in texts:
        seen.update(text)
    if not seen:
        raise InputError("the training texts are empty: there is no character to learn")
    letters = _letters()
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    merges: list[tuple[str, str]] = []
    for character in sorted(seen):
        parts = [letters[byte] for byte in character.encode()]
        for end in range(2, len(parts) + 1):
            before, piece = "".join(parts[: end - 1]), "".join(parts[:end])
            if piece not in vocabulary:
                vocabulary[piece] = len(vocabulary)
                merges.append((before, parts[end - 1]))
    if len(vocabulary) > MOST["vocabulary"]:
        raise InputError(f"the texts have {len(seen):,} different characters: wanted model.words = 'bytes-bpe'")
    if not merges:
        first, second = (letters[byte] for byte in NEVER)
        vocabulary[first + second] = len(vocabulary)
        merges.append((first, second))
    return _tokenizer(models.BPE(vocab=vocabulary, merges=merges))


def _pairs(texts: Iterable[str], size: int) -> tokenizers.Tokenizer:
    if size <= 256:
        raise InputError(f"model.vocabulary is {size}: wanted more than the 256 bytes, 512 or more")
    made = _tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(_some(texts), trainer=trainer)
    if made.get_vocab_size() == 256:
        raise InputError("the training texts are too short for byte pairs: wanted model.words = 'characters'")
    return made


def _some(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for start in range(0, len(text), 1 << 16):  # the trainer splits texts anyway, long ones slowly
            yield text[start : start + (1 << 16)]


def _letters() -> list[str]:
    """The printable letter that stands for each byte (GPT-2's table: printable bytes are themselves)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(moved)) for byte in range(256)]
