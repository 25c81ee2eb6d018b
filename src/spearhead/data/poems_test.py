"""Quatrains are told from other poems, and what is not whole is named."""

import json

from spearhead.data import readers
from spearhead.data.clean import Cleaner
from spearhead.data.config import Cleaning, Source
from spearhead.data.items import Item, Unread

SOURCE = Source(kind="files", licence="MIT", credit="x", reader="quatrains")
TOWER = {
    "title": "登鸛雀樓",
    "author": "王之渙",
    "paragraphs": ["白日依山盡，黃河入海流。", "欲窮千里目，更上一層樓。"],
}


def read(*poems: object) -> list[Item | Unread]:
    return list(readers.read("p.json", json.dumps(poems).encode(), SOURCE, alone=True))


def test_a_quatrain_is_its_title_and_two_couplets() -> None:
    assert read(TOWER) == [
        Item("0", {"input": "登鸛雀樓", "output": "白日依山盡，黃河入海流。\n欲窮千里目，更上一層樓。"})
    ]


def test_the_marks_of_editions_are_brought_to_one_form_and_a_question_stays_one() -> None:
    asked = {"title": "雜詩", "paragraphs": ["君自故鄉來；應知故鄉事；來日綺窗前；寒梅著花未？"]}
    assert read(asked) == [Item("0", {"input": "雜詩", "output": "君自故鄉來，應知故鄉事。\n來日綺窗前，寒梅著花未？"})]


def test_other_forms_are_passed_over() -> None:
    eight = {**TOWER, "paragraphs": [*TOWER["paragraphs"], *TOWER["paragraphs"]]}
    uneven = {**TOWER, "paragraphs": ["白日依山盡，黃河入海流。", "欲窮千里目，更上層樓。"]}
    six = {**TOWER, "paragraphs": ["白日依山盡去，黃河入海流來。", "欲窮千里目也，更上一層樓了。"]}
    assert read(eight, uneven, six, {}, "text", {"paragraphs": 3}, {"paragraphs": ["x" * 100]}) == []


def test_fragments_and_lost_characters_are_named() -> None:
    lost = {**TOWER, "paragraphs": ["白日依山盡，黃河入海流。", "欲窮千里□，更上一層樓。"]}
    found = read({**TOWER, "title": "句"}, {**TOWER, "title": ""}, lost)
    assert [one.reason for one in found if isinstance(one, Unread)] == [
        "is a fragment or has no title", "is a fragment or has no title", "has lost characters, or signs that are none"
    ]  # fmt: skip


def test_broken_files_are_named() -> None:
    for data, reason in ((b"[", "is not JSON"), (b"{}", "is not a JSON list of poems")):
        [found] = readers.read("p.json", data, SOURCE, alone=True)
        assert isinstance(found, Unread) and reason in found.reason


def test_a_scenario_brings_both_scripts_to_one() -> None:
    simple = Cleaner.of(Cleaning(script="simplified"))
    assert simple("input", "登鸛雀樓") == simple("input", "登鹳雀楼") == "登鹳雀楼"
    assert Cleaner.of(Cleaning(script="traditional"))("output", "白日依山尽") == "白日依山盡"
