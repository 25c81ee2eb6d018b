import io
import json
from typing import Any

import pytest

from spearhead.core.errors import InputError
from spearhead.data import readers
from spearhead.data.config import Source
from spearhead.data.items import Item, Unread


def source(**fields: Any) -> Source:
    return Source(kind="files", licence="CC0-1.0", credit="", **fields)


def read(name: str, data: bytes, *, alone: bool = True, **fields: Any) -> list[Item | Unread]:
    return list(readers.read(name, data, source(**fields), alone=alone))


def texts(name: str, data: bytes, **fields: Any) -> list[tuple[str, dict[str, str]]]:
    return [(item.key, dict(item.texts)) for item in read(name, data, **fields) if isinstance(item, Item)]


def reasons(name: str, data: bytes, **fields: Any) -> list[str]:
    return [item.reason for item in read(name, data, **fields) if isinstance(item, Unread)]


BIBLE = b"""
import os; os.abort()  # never run
from pythonbible import Bible
bible = Bible(
    Version.KING_JAMES,
    "In the beginning. And the earth was. ",
    {1001001: 0, 1001002: 18, 1001003: 99},
    {1001001: 17, 1001002: 37, 1001003: 120},
    {Book.GENESIS: {1: 31}},
    {Book.GENESIS: "Genesis"},
    False,
)
"""


def test_a_translation_is_parsed_and_never_run() -> None:
    found = read("bible.py", BIBLE, reader="pythonbible", part="input")
    assert found == [
        Item("1001001", {"input": "In the beginning."}),
        Item("1001002", {"input": "And the earth was. "}),
        Unread("1001003", "has no valid start and end in the scripture"),
    ]


@pytest.mark.parametrize("data", [b"bible = (", b"x = 1", b"x = f(1, 2)", b"\xff\xfe", b"x = " + b"(" * 10_000])
def test_python_that_holds_no_translation_is_said_so(data: bytes) -> None:
    assert len(reasons("bible.py", data, reader="pythonbible")) == 1


def test_plain_text_is_one_item_lines_are_many_and_paragraphs_end_at_blank_lines() -> None:
    data = b"one\r\ntwo\n\nthree\n"
    assert texts("a.txt", data) == [("", {"text": "one\r\ntwo\n\nthree\n"})]
    assert texts("a.txt", data, reader="lines") == [
        ("0", {"text": "one"}), ("1", {"text": "two"}), ("3", {"text": "three"})
    ]  # fmt: skip
    assert texts("a.txt", data, reader="paragraphs", part="input") == [
        ("0", {"input": "one\ntwo"}), ("1", {"input": "three"})
    ]  # fmt: skip


def test_line_numbers_of_parallel_files_stay_aligned() -> None:
    english, chinese = "a\n\nb\u2028c\n".encode(), "甲\n\n乙\n".encode()
    keys = [[key for key, _ in texts("x.txt", data, reader="lines")] for data in (english, chinese)]
    assert keys[0] == keys[1] == ["0", "2"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", b'question,answer,n\n"Why, oh\nwhy?",Because.,7\n'),
        ("t.tsv", b'question\tanswer\tn\n"Why, oh\nwhy?"\tBecause.\t7\n'),
        ("t.csv", b'question;answer;n\n"Why, oh\nwhy?";Because.;7\n'),
        ("t.jsonl", b'{"question": "Why, oh\\nwhy?", "answer": "Because.", "n": 7}\n\n'),
        ("t.json", b'[{"question": ["Why, oh", "why?"], "answer": "Because.", "n": 7}]'),
        ("t.json", b'{"version": 1, "data": [{"question": "Why, oh\\nwhy?", "answer": "Because.", "n": 7}]}'),
    ],
)
def test_tables_of_every_kind_give_the_same_items(name: str, data: bytes) -> None:
    columns = {"input": "question", "output": "answer"}
    assert texts(name, data, columns=columns) == [("0", {"input": "Why, oh\nwhy?", "output": "Because."})]
    assert texts(name, data, columns={**columns, "key": "n"})[0][0] == "7"


def test_parquet_gives_the_same_items_and_a_broken_one_is_said_so() -> None:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    table = pyarrow.table({"question": ["Why?", None], "answer": ["Because.", "x"], "n": [7, 8]})
    pyarrow.parquet.write_table(table, out)
    found = read("t.parquet", out.getvalue(), columns={"input": "question", "output": "answer", "key": "n"})
    assert found == [Item("7", {"input": "Why?", "output": "Because."}), Unread("8", "column 'question' holds no text")]
    assert "not a whole parquet file" in reasons("t.parquet", out.getvalue()[:100])[0]


def test_columns_named_after_parts_need_no_mapping() -> None:
    assert texts("t.csv", b"input,output,other\na,b,c\n") == [("0", {"input": "a", "output": "b"})]


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(InputError, match="there is no column 'q': the table has question, answer"):
        read("t.csv", b"question,answer\na,b\n", columns={"input": "q"})
    with pytest.raises(InputError, match="no column is named input, output, text or messages"):
        read("t.csv", b"asked,reply\na,b\n")
    with pytest.raises(InputError, match="columns fills 'inptu'"):
        read("t.csv", b"question,answer\na,b\n", columns={"inptu": "question"})


def test_each_row_may_name_its_own_licence_and_one_that_does_not_is_left_out() -> None:
    found = read("t.csv", b"text,rights\na,MIT\nb,\n", licence_column="rights")
    assert found == [Item("0", {"text": "a"}, "MIT"), Unread("1", "column 'rights' names no licence")]


def test_a_bad_line_does_not_stop_the_good_ones() -> None:
    data = b'{"text": "a"}\n{"text": \n[1]\n{"text": 5}\n{"text": true}\n' + b"[" * 100_000 + b"\n"
    assert [text["text"] for _, text in texts("t.jsonl", data)] == ["a", "5"]
    assert len(reasons("t.jsonl", data)) == 4


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("t.jsonl", b'{"input": "a"}\n{"input": "b"}\n{"input": "c"}', b'{"output": "A"}\n{"outp\n{"output": "C"}'),
        ("t.jsonl", b'{"input": "a"}\n{"input": "b"}\n{"input": "c"}', b'{"output": "A"}\n7\n{"output": "C"}'),
        ("t.json", b'[{"input": "a"}, {"input": "b"}, {"input": "c"}]', b'[{"output": "A"}, 7, {"output": "C"}]'),
    ],
)
def test_a_row_that_cannot_be_read_moves_no_other_to_another_partner(name: str, good: bytes, bad: bytes) -> None:
    asked, answered = (dict(texts(name, data, part=part)) for data, part in ((good, "input"), (bad, "output")))
    assert {asked[key]["input"]: answered[key]["output"] for key in asked.keys() & answered.keys()} == {
        "a": "A",
        "c": "C",
    }
    assert [item.key for item in read(name, bad, part="output") if isinstance(item, Unread)] == ["1"]


def test_a_cell_of_a_million_characters_is_read() -> None:
    assert len(texts("t.csv", b"text\n" + b"x" * 1_000_000 + b"\n")[0][1]["text"]) == 1_000_000


def test_words_behind_an_unquoted_comma_are_not_lost_without_a_word() -> None:
    found = read("t.csv", b"input,output\nhello, world,bonjour\na,b,\nc,d\n")
    assert found == [
        Unread("0", "line 2 has 3 cells for 2 columns: quote cells with ','"),
        Item("1", {"input": "a", "output": "b"}),
        Item("2", {"input": "c", "output": "d"}),
    ]


@pytest.mark.parametrize("end", [b'"c,d\ne,f\n', b'"c,d\n"e,f\n'])
def test_a_quote_that_nothing_closes_makes_no_row_of_two(end: bytes) -> None:
    first, second = read("t.csv", b"input,output\na,b\n" + end)
    assert first == Item("0", {"input": "a", "output": "b"})
    assert isinstance(second, Unread) and "nothing is read from there on" in second.reason


def test_of_two_columns_of_one_name_none_is_taken() -> None:
    assert reasons("t.csv", b"input,input,output\na,b,c\n") == [
        "has two columns named 'input': give each a name of its own"
    ]
    assert texts("t.csv", b"n,n,input\na,b,c\n", columns={"input": "input"}) == [("0", {"input": "c"})]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.txt", b"", "is empty"),
        ("a.csv", b" \n\n", "is empty"),
        ("a.txt", b"\x89PNG\r\n\0\0\0", "looks binary"),
        ("a.txt", "na\u00efve".encode("latin-1"), "is not utf-8: byte 0xef at offset 2"),
        ("a.bin", b"x", "no reader for .bin; name one"),
        ("README", b"x", "no reader for a name without a suffix"),
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"[1, 2]", "is not a JSON list of objects"),
        ("a.yml", b"a: [", "is not YAML"),
        ("a.yml", b"a: 1", "holds no list `conversations`"),
    ],
)
def test_what_cannot_be_read_is_left_out_with_its_reason(name: str, data: bytes, reason: str) -> None:
    found = read(name, data)
    assert len(found) == 1 and isinstance(found[0], Unread) and reason in found[0].reason


def test_other_encodings_are_read_when_they_are_named() -> None:
    assert texts("a.txt", "处处".encode("gb18030"), encoding="gb18030")[0][1] == {"text": "处处"}
    assert texts("a.txt", "处处".encode("utf-16"), encoding="utf-16")[0][1] == {"text": "处处"}
    assert texts("a.csv", b"\xef\xbb\xbftext\nx\n") == [("0", {"text": "x"})]
    with pytest.raises(InputError, match="encoding 'utf-99' is unknown"):
        read("a.txt", b"x", encoding="utf-99")


def test_dialogues_give_each_turn_with_the_next_and_yaml_makes_no_objects() -> None:
    data = b"conversations:\n- - Are you there?\n  - yes\n  - Good.\n- - lonely\n- [[1], 2]\n"
    found = texts("a.yml", data)
    assert found == [
        ("0.0", {"input": "Are you there?", "output": "yes"}), ("0.1", {"input": "yes", "output": "Good."})
    ]  # fmt: skip
    assert len(reasons("a.yml", data)) == 2
    assert "not YAML" in reasons("a.yml", b"conversations: !!python/object/apply:os.system [x")[0]


WORDNET = b"""  1 This software and database is being provided to you
00001930 03 n 01 physical_entity 0 001 @ 00001740 n 0000 | an entity that has physical existence
00006269 03 n 02 life 0 living 1 001 @ 00004258 n 0000 | living things; "the oceans are teeming with life"; "so is it"
00003356 00 s 01 dying(p) 0 001 & 00003131 a 0000 | eagerly desirous
not a synset
"""


def test_a_synset_gives_its_first_word_and_its_definition_without_examples() -> None:
    columns = {"input": "question", "output": "gloss"}
    found = read("data.noun", WORDNET, reader="wordnet", columns=columns)
    assert found == [
        Item(
            "00001930n", {"input": "What does physical entity mean?", "output": "an entity that has physical existence"}
        ),
        Item("00006269n", {"input": "What does life mean?", "output": "living things"}),
        Item("00003356s", {"input": "What does dying mean?", "output": "eagerly desirous"}),
        Unread("3", "line 5 is not a synset of WordNet"),
    ]
    words = texts("data.noun", WORDNET, reader="wordnet", columns={"text": "words"})
    assert words[1] == ("00006269n", {"text": "life, living"})


def test_among_several_files_keys_name_the_file() -> None:
    assert [item.key for item in read("d/a.txt", b"x", alone=False)] == ["d/a.txt"]
    assert [item.key for item in read("d/a.csv", b"text\nx\n", alone=False)] == ["d/a.csv:0"]


def test_an_unknown_reader_is_the_scenarios_mistake() -> None:
    with pytest.raises(InputError, match="reader is 'xml': wanted one of text, lines"):
        read("a.xml", b"<a/>", reader="xml")


def test_items_are_the_same_on_every_read() -> None:
    data = "\n".join(json.dumps({"text": str(n)}) for n in range(50)).encode()
    assert read("t.jsonl", data) == read("t.jsonl", data)


TALK = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]
LONGER = [*TALK, {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
TWO = {"before_000_user": "Who?", "before_001_assistant": "I.", "input": "Why?", "output": "So."}
PAIR = {"input": "Who?", "output": "I."}


def test_conversations_are_read_from_json_lines_json_and_parquet_by_name_or_by_column() -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"messages": LONGER, "rights": "MIT"}, {"messages": [{**TALK[0], "role": "tool"}], "rights": "MIT"}]
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    files = {
        "t.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "t.json": json.dumps(rows).encode(),
        "t.parquet": table.getvalue(),
    }
    for name, data in files.items():
        ways: tuple[dict[str, Any], ...] = ({}, {"columns": {"messages": "messages"}, "licence_column": "rights"})
        for fields in ways:
            first, second, refused = read(name, data, **fields)
            licence = "MIT" if fields else ""
            assert (first, second) == (Item("0.1", PAIR, licence), Item("0.2", TWO, licence)), (name, fields)
            assert isinstance(refused, Unread) and refused.key == "1" and "of the role 'tool'" in refused.reason
    shared = [{"id": "a", "conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "I."}]}]
    assert texts("t.json", json.dumps(shared).encode()) == [("0.1", PAIR)]
    assert texts("t.json", json.dumps(shared).encode(), columns={"messages": "conversations", "key": "id"}) == [
        ("a.1", PAIR)
    ]


def test_tools_beside_a_conversation_are_seen_in_a_table_of_which_columns_are_named() -> None:
    import pyarrow
    import pyarrow.parquet

    table = io.BytesIO()
    rows = [{"messages": TALK, "tools": "[{}]", "other": 1}, {"messages": TALK, "tools": None, "other": 2}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    found = read("t.parquet", table.getvalue(), columns={"messages": "messages"})
    assert found == [Unread("0", "column 'tools' offers tools: a scenario calls none"), Item("1.1", PAIR)]


def test_instructions_are_read_where_the_columns_say_so_and_never_without() -> None:
    data = json.dumps([{"instruction": "Who?", "input": "", "output": "I."}]).encode()
    columns = {name: name for name in ("instruction", "input", "output")}
    assert texts("t.json", data, columns=columns) == [("0", PAIR)]
    with pytest.raises(InputError, match="a column instruction stands beside output: set data.sources.columns"):
        read("t.json", data)
    with pytest.raises(InputError, match="data.sources.columns: messages hold what is given and what is wanted"):
        read("t.json", data, columns={"messages": "instruction", "output": "output"})


def test_two_answers_that_are_joined_by_a_key_are_taken_as_they_are() -> None:
    data = b"key,good,bad\n7,yes,no\n"
    columns = {"key": "key", "output": "good", "rejected": "bad"}
    assert read("t.csv", data, part="output", columns=columns) == [Item("7", {"output": "yes", "rejected": "no"})]
