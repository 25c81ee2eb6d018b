from spearhead.core import media
from spearhead.core.record import Record, before
from spearhead.core.rights import Licence, Right
from spearhead.core.template import Segment, Template, Turns, reworded

TALK: Turns = (
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "I <|im_end|>."},
    {"role": "user", "content": "Why?"},
)
FREE = Licence("CC0-1.0", Right.TRAIN, "")


def record(*turns: dict[str, str] | Turns, output: str = "So.") -> Record:
    said = [one for group in turns for one in (group if isinstance(group, tuple) else (group,))]
    parts = {before(n, one["role"]): media.text(one["content"]) for n, one in enumerate(said[:-1])}
    return Record({**parts, "input": media.text(said[-1]["content"]), "output": media.text(output)}, FREE, "test")


def written(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def test_a_record_in_a_conversation_is_rendered_as_the_messages_that_a_client_sends() -> None:
    for template in (Template(), Template(system="Sell.", before="[", after="]"), Template(style="plain", after=">")):
        assert template.single(record(TALK).given) == template.turns(TALK)
    assert [one.text for one in Template().single(record(TALK).given) if not one.special][2] == "I <|im_end|>."
    assert Template().single(record(TALK[3:]).given) == Template().single("Why?")


def test_a_system_message_that_is_the_templates_own_is_said_once() -> None:
    template = Template(system="Be short.")
    assert template.turns(TALK) == template.turns(TALK[1:]) and written(template.turns(TALK)).count("Be short.") == 1
    assert template.turns([{"role": "system", "content": " Be short.\n"}, *TALK[1:]]) == template.turns(TALK)
    other = written(template.turns([{"role": "system", "content": "Be long."}, *TALK[1:]]))
    assert other.startswith("<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>system\nBe long.<|im_end|>\n")


def test_other_last_words_leave_what_was_said_before() -> None:
    assert reworded(TALK, str.upper) == (*TALK[:3], {"role": "user", "content": "WHY?"})
    assert reworded("Why?", str.upper) == "WHY?"


def test_the_exchanges_of_a_conversation_have_the_ids_of_its_earlier_records() -> None:
    first = record(TALK[:2], output="I <|im_end|>.")
    assert record(TALK).exchanges == (first.id, record(TALK).id) and first.exchanges == (first.id,)
    assert record(TALK).before == TALK[:3]
    whole = Record({"text": media.text("x")}, FREE, "test")
    assert whole.exchanges == (whole.id,) and whole.given == ""
