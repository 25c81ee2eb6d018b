"""What is left in English of a page for who reads Chinese."""

import re
from html.parser import HTMLParser
from typing import Any

ALLOWED = re.compile(
    "spearhead|AI|arXiv|UTC|USD|EUR|MiB|MB|PDF|CSV|JSON|UTF|C2PA|GB|Ctrl|Enter|sha256|CC0-1|Top-p|Top-k|Min-p|p"
    # What the tests' releases, teams, plans and models are called:
    "|[Tt]iny|v1|v2|F32|bleu|chrf|copy|ngram|base|nobody|made|up|pretrained|llamacpp|test|en|film-crew|pro|png"
)
"""Names and units that Chinese readers read as they are."""
LIBRARIES = ("python", "torch", "cpu", "transformers", "peft", "xllamacpp", "openvino", "onnxruntime", "sacrebleu")
"""What a release was made by, as its report names it."""
CODE = re.compile(
    r"\b(?:acct|key|per|rev|out|req|sub|gr)_\w+|\b(?:account|key|team):\S+|guest-\w+|sk-spear-\S*|\b[0-9a-f]{6,64}\b"
    r"|spearhead [a-z]+(?: [a-z]+)?(?: [A-Z]+)?|\.txt|\.csv|(?:text|image)/\w+|\b\d+x\d+\S*|\bINV-\S+"
    r"|\b\d\.\d+e-\d+|\d{4}-\d\d-\d\dT[\d:]+Z|[A-Za-z]\w*(?:\.[A-Za-z]\w+)+|“[^”]*”"
)
"""Ids, commands, types and endings of files, and in quotation marks what somebody gave."""
LATIN = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
QUIET = {"script", "style", "code", "kbd", "textarea", "metadata"}
SHOWN = re.compile("title|aria-label|placeholder|alt|data-(?:label|say|added|done|failed)")
CONTENT = {"words", "draft", "asked", "pre", "mono", "brand", "person"}
"""Classes of what people and models wrote, and of ids."""
VOID = {"meta", "link", "input", "img", "br", "hr", "line", "rect", "path"}


class Reader(HTMLParser):
    """Collects what a page says to people: its text and the attributes that are read out or shown."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.open: list[tuple[str, bool]] = []

    @property
    def quiet(self) -> bool:
        return any(skip for _, skip in self.open)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = {name: value or "" for name, value in attrs}
        mute = tag in QUIET or bool(CONTENT & set(given.get("class", "").split()))
        mute = mute or (tag == "option" and "lang" in given)  # a language by its own name
        if not (self.quiet or mute):
            self.said += [words for name, words in given.items() if SHOWN.fullmatch(name) and words]
        if tag not in VOID:
            self.open.append((tag, mute))

    def handle_endtag(self, tag: str) -> None:
        while self.open:
            name, _ = self.open.pop()
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        if not self.quiet and data.strip():
            self.said.append(data.strip())


def english(page: str, *names: str) -> list[str]:
    """Runs of Latin letters in what a page says that are no id or code, and none of the names that it may say."""
    reader = Reader()
    reader.feed(page)
    return [one for line in reader.said for one in left(line, *names)]


def left(line: str, *names: str) -> list[str]:
    """The same of a line of text."""
    found = LATIN.findall(CODE.sub(" ", line))
    return [f"{words}: {line}" for words in found if words not in names and not ALLOWED.fullmatch(words)]
