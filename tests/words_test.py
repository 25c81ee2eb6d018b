"""Promises of the words of sentences: what the code says is written, with the facts that it gives, and nothing else."""

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import jinja2

import spearhead
from spearhead.core import sentence
from spearhead.engine import edits, outputs
from spearhead.release import gate

NAMED = {"BEATS": gate.BEATS, "REPLACED": edits.REPLACED, "EDITED": edits.EDITED, "IN_PROMPT": outputs.IN_PROMPT}
"""Names of words that stand in the code for themselves."""


def calls() -> Iterator[tuple[str, str, set[str]]]:
    """Where a sentence is made, the name of its words, and the facts that it is given."""
    root = Path(spearhead.__file__).parent
    for file in sorted(root.rglob("*.py")):
        if file.name.endswith("_test.py"):
            continue
        tree = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        froms = [node for node in tree if isinstance(node, ast.ImportFrom) and node.module == sentence.__name__]
        if not any(name.name == "said" for node in froms for name in node.names):
            continue
        for node in tree:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "said" and node.args:
                match node.args[0]:
                    case ast.Constant(value=str(words)):
                        pass
                    case ast.Name(id=name) | ast.Attribute(attr=name):
                        words = NAMED[name]
                    case _:
                        raise AssertionError(f"{file}:{node.lineno}: the name of the words is not plain to see")
                facts = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                yield f"{file.relative_to(root)}:{node.lineno}", words, facts


def asked() -> Iterator[tuple[str, str, set[str]]]:
    """What the template of a run's report says."""
    file = Path(spearhead.__file__).parent / "pipeline" / "report.html.j2"
    for call in jinja2.Environment().parse(file.read_text("utf-8")).find_all(jinja2.nodes.Call):
        if isinstance(call.node, jinja2.nodes.Name) and call.node.name == "t":
            (words,) = call.args
            assert isinstance(words, jinja2.nodes.Const), f"{file}:{call.lineno}: the words are not plain to see"
            yield f"{file.name}:{call.lineno}", f"pipeline.report.{words.value}", {each.key for each in call.kwargs}


def test_every_sentence_that_is_made_is_written_and_gives_the_facts_that_its_words_have_places_for() -> None:
    book, made = sentence.book("en"), [*calls(), *asked()]
    assert len(made) > 200
    wrong = [
        (where, words)
        for where, words, facts in made
        if words not in book or facts != {name for _, name, _, _ in string.Formatter().parse(book[words]) if name}
    ]
    assert wrong == []


def test_no_words_are_left_that_nobody_says() -> None:
    said = {words for _, words, _ in (*calls(), *asked())}
    places = [words for words in sentence.book("en") if words not in said]
    tables: tuple[str, ...] = ("core.", "review.categories.", "service.studio.fields.", "service.studio.choices.")
    tables += (
        "ledger.fields.",
        "ledger.spans.",
        "ledger.measures.",
        "ledger.scopes.",
        "ledger.invoice.",
        "ledger.csv.",
    )
    tables += ("provenance.layers.", "provenance.techniques.", "data.refusals.", "engine.states.")
    tables += ("pipeline.counts.", "pipeline.decisions.", "pipeline.steps.", "pipeline.ends.", "pipeline.made_by.")
    assert [name for name in places if not name.startswith(tables) and not name.endswith(".name")] == []
