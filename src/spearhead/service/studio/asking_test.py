"""Promises of forms: what a release may be asked, and what is made of what was sent."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from spearhead.core.errors import InputError
from spearhead.core.sampler import Sampler
from spearhead.core.sentence import say
from spearhead.engine.loaded import Loaded
from spearhead.engine.outputs import asked_text
from spearhead.service.studio import asking
from spearhead.service.studio.asking import Ask

TEXT = {
    "temperature": {"type": "number", "minimum": 0, "maximum": 2, "title": "Temperature", "default": 0.7},
    "top_k": {"type": "integer", "minimum": 0, "maximum": 1000, "title": "Top-k", "default": 40},
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": 4095, "title": "Longest answer", "default": 64},
    "seed": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**32 - 2, "title": "Seed"},
    "stop": {"type": "array", "items": {"type": "string"}, "maxItems": 4, "title": "Stop texts"},
}
PICTURE = {
    "size": {"type": "string", "enum": ["auto", "256x256"], "default": "auto", "title": "Size"},
    "parameters": {"type": "boolean", "default": True, "title": "Say how"},
    "truncation": {"type": "number", "exclusiveMinimum": 0, "maximum": 2, "default": 1.0},
    "mixing": {"type": "integer", "minimum": 0, "maximum": 3, "default": 0},
    "mixing_seed": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**63 - 1},
    "prompt": {"type": "string", "enum": ["boot", "bag", "hat"], "title": "What to make"},
}


NAMES = {"短靴": 0, "包": 1, "手提包": 1, "boots": 0, "踝靴": 0}
SAMPLER = Sampler("oneshot", (4,), (8, 8), 1, ("boot", "bag", "hat"), names=NAMES)


def form(tmp_path: Path, properties: dict[str, Any], *, modality: str = "text", language: str = "en") -> Ask:
    """The form of a release with this options schema; what a form needs of a release is two values and two files."""
    (tmp_path / "options").write_text(json.dumps({"properties": properties}))
    (tmp_path / "sampler").write_text(SAMPLER.to_json())
    manifest = SimpleNamespace(parts=(SimpleNamespace(role="options"),), modality=modality, scenario="s")
    release = SimpleNamespace(file=lambda role: tmp_path / role)
    return asking.of(cast(Loaded, SimpleNamespace(manifest=manifest, release=release)), language=language)


def test_a_form_has_a_field_for_every_option_with_its_bounds(tmp_path: Path) -> None:
    ask = form(tmp_path, TEXT)
    assert [(field.name, field.kind) for field in ask.fields] == [
        ("temperature", "number"),
        ("top_k", "whole"),
        ("max_tokens", "whole"),
        ("stop", "lines"),
    ]
    assert (ask.fields[2].least, ask.fields[2].most, ask.fields[2].default) == ("1", "4095", 64)
    assert not ask.unprompted and ask.classes == ()


def test_a_request_says_only_what_differs_from_the_scenarios_own(tmp_path: Path) -> None:
    ask = form(tmp_path, TEXT)
    sent = {"temperature": "0.7", "top_k": "5", "max_tokens": "", "stop": "END\n\nFIN", "count": "3", "seed": "9"}
    (request,) = asking.requests(ask, sent, prompts=["hello"], account="a")
    assert request.options == {"top_k": 5, "stop": ("END", "FIN")}
    assert (request.count, request.seed, request.prompt, request.scenario) == (3, 9, "hello", "s")


def test_what_was_asked_fills_the_form_that_asks_it_again(tmp_path: Path) -> None:
    ask = form(tmp_path, TEXT)
    sent = {"temperature": "1.25", "top_k": "5", "max_tokens": "64", "stop": "END\nFIN", "count": "3", "seed": "9"}
    (request,) = asking.requests(ask, sent, prompts=["hello"], account="a")
    shown = asking.values_of(ask, json.loads(asked_text(request)))
    assert shown == sent
    (again,) = asking.requests(ask, shown, prompts=["hello"], account="a")
    assert (again.options, again.count, again.seed) == (request.options, request.count, request.seed)
    assert again.key != request.key


def test_classes_are_shown_by_their_names_in_the_readers_language_and_taken_by_all_of_them(tmp_path: Path) -> None:
    ask = form(tmp_path, PICTURE, modality="image", language="zh")
    assert ask.classes == ("短靴", "包", "hat"), "the first Chinese name, or the name that there is"
    prompts = ["短靴", "手提包", "Bag", "hat"]
    assert [one.prompt for one in asking.requests(ask, {}, prompts=prompts, account="a")] == prompts
    assert [ask.named(one) for one in prompts] == ["短靴", "包", "包", "hat"]
    assert [SAMPLER.label(one) for one in prompts] == [0, 1, 1, 2], "as the model takes them"
    assert form(tmp_path, PICTURE, modality="image").named("包") == "bag", "asked once more in English"
    with pytest.raises(InputError) as caught:
        asking.requests(ask, {}, prompts=["鞋"], account="a")
    assert say(caught.value.said, "zh") == "无法生成“鞋”，可选：短靴、包、hat。"


def test_a_picture_model_with_classes_makes_those_and_no_others(tmp_path: Path) -> None:
    ask = form(tmp_path, PICTURE, modality="image")
    assert ask.classes == ("boot", "bag", "hat") and not ask.unprompted
    (request,) = asking.requests(ask, {"size": "256x256"}, prompts=["boot"], account="a")
    assert request.options == {"size": "256x256", "parameters": False}  # an unticked box is not sent
    (mixed,) = asking.requests(ask, {"mixing": "2", "mixing_seed": "9"}, prompts=["boot"], account="a")
    assert mixed.options == {"mixing": 2, "mixing_seed": 9, "parameters": False}
    with pytest.raises(InputError, match="mixing is '4': wanted a whole number from 0 to 3"):
        asking.requests(ask, {"mixing": "4"}, prompts=["boot"], account="a")
    with pytest.raises(InputError, match="cannot be made: there is boot, bag"):
        asking.requests(ask, {}, prompts=["boat"], account="a")
    with pytest.raises(InputError, match="size is"):
        asking.requests(ask, {"size": "9x9"}, prompts=["bag"], account="a")
    silent = form(tmp_path, {name: value for name, value in PICTURE.items() if name != "prompt"}, modality="image")
    assert silent.unprompted
    assert asking.requests(silent, {"parameters": "on"}, prompts=[""], account="a")[0].options == {}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"temperature": "hot"}, "temperature is 'hot': wanted a number from 0 to 2"),
        ({"temperature": "1e999"}, "temperature is"),
        ({"top_k": "1.5"}, "top_k is '1.5': wanted a whole number from 0 to 1000"),
        ({"max_tokens": "0"}, "max_tokens is '0'"),
        ({"count": "١"}, "count is"),
        ({"seed": "--1"}, "seed is"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(tmp_path: Path, sent: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        asking.requests(form(tmp_path, TEXT), sent, prompts=["x"], account="a")


def test_prompts_come_from_a_list_or_a_file_within_bounds() -> None:
    assert asking.listed(" one \n\n two\r\nthree") == ["one", "two", "three"]
    assert asking.from_file("a.txt", b"\xef\xbb\xbfone, still one\ntwo") == ["one, still one", "two"]
    assert asking.from_file("A.CSV", b'Prompt,x\n"a, b",1\n"line\nbreak",2\n,3\n') == ["a, b", "line\nbreak"]
    assert asking.from_file("a.csv", "春风\n秋月".encode()) == ["春风", "秋月"]
    for name, data, said in (
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.csv", b'"open', "no table"),
        ("a.txt", b"x\n" * 101, "at most 100"),
    ):
        with pytest.raises(InputError, match=said):
            asking.from_file(name, data)
    with pytest.raises(InputError, match="empty"):
        asking.requests(Ask("s", "text", (), (), {}, False), {}, prompts=[""], account="a")
    with pytest.raises(InputError, match="20,000"):
        asking.requests(Ask("s", "text", (), (), {}, False), {}, prompts=["x" * 20_001], account="a")
