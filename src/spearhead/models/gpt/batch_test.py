"""What is learnt of a text and of a pair, token by token."""

import numpy as np

from spearhead.core.template import Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.gpt import batch, words
from spearhead.models.gpt.config import Config

PLAIN = Template(style="plain", after="<|so|>", stop="<|end|>")
TOKENIZER = Tokenizer(words.make(["abcdefgh"], Config(), template=PLAIN))


def said(ids: object) -> str:
    return TOKENIZER.decode(np.asarray(ids).tolist(), markers=True)


def test_of_a_pair_the_answer_and_its_end_are_learnt() -> None:
    (example,), too_long = batch.pairs(
        [("abc", "de"), ("abcd", "efgh")], tokenizer=TOKENIZER, template=PLAIN, longest=6
    )
    assert (said(example.ids), too_long) == ("abc<|so|>de<|end|>", 1)
    packed = batch.pack([example])
    learnt = packed.labels[0]
    assert said(learnt[learnt >= 0]) == "de<|end|>"
    assert said(packed.inputs[0][learnt >= 0]) == "<|so|>de", "each is predicted from the token before it"
    assert (example.weight, example.units, packed.weight, packed.units) == (3, 6, 3, 6)


def test_texts_stand_in_one_row_each_with_its_end() -> None:
    ids = batch.stream(["abc", "de"], tokenizer=TOKENIZER, template=Template(style="plain", stop="<|end|>"))
    assert said(ids) == "abc<|end|>de<|end|>"
    prompted = batch.stream(["abc", "de"], tokenizer=TOKENIZER, template=PLAIN)
    assert said(prompted) == "<|so|>abc<|end|><|so|>de<|end|>", "as the prompt will be when it is served"


def test_windows_predict_every_token_but_the_first_once() -> None:
    ids = np.arange(50, dtype=np.int32)
    packed = batch.pack(batch.windows(ids, length=8))
    assert packed.labels[packed.labels >= 0].tolist() == list(range(1, 50))
    assert packed.inputs[packed.labels >= 0].tolist() == list(range(49))
    assert packed.weight == packed.units == 49 and packed.examples == 7


def test_moved_windows_stay_inside_and_near_and_cover_the_text() -> None:
    ids = np.arange(100, dtype=np.int32)
    change = batch.moved(ids, length=10)
    rng = np.random.default_rng(0)
    seen: set[int] = set()
    for number in range(10):
        for _ in range(40):
            example = change(number, rng)
            assert example.units == 10 and abs(int(example.ids[0]) - 10 * number) <= 10
            seen |= set(example.ids.tolist())
    assert seen == set(range(100))
    assert change(0, np.random.default_rng(3)).ids.tolist() == change(0, np.random.default_rng(3)).ids.tolist()
