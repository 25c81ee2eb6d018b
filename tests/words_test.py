"""Promises of the words of sentences: what the code says is written, with the facts that it gives, and nothing else."""

import ast
import string
from collections.abc import Iterator
from pathlib import Path

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


def test_every_sentence_that_is_made_is_written_and_gives_the_facts_that_its_words_have_places_for() -> None:
    book, made = sentence.book("en"), list(calls())
    assert len(made) > 80
    wrong = [
        (where, words)
        for where, words, facts in made
        if words not in book or facts != {name for _, name, _, _ in string.Formatter().parse(book[words]) if name}
    ]
    assert wrong == []


def test_no_words_are_left_that_nobody_says() -> None:
    said = {words for _, words, _ in calls()}
    places = [words for words in sentence.book("en") if words not in said]
    tables: tuple[str, ...] = ("core.", "review.categories.", "service.studio.fields.", "service.studio.choices.")
    tables += ("ledger.fields.", "ledger.spans.", "ledger.measures.", "ledger.scopes.")
    tables += ("provenance.layers.", "provenance.techniques.")
    assert [name for name in places if not name.startswith(tables) and not name.endswith(".name")] == []
