"""The implicit label of GB 45438-2025 annex E: seven members, in order, all strings. Knows no file format.

Written and read by every modality in its own place.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from spearhead.core import digest
from spearhead.core.media import Label
from spearhead.core.sentence import Sentence, said

MEMBERS = (
    "Label",
    "ContentProducer",
    "ProduceID",
    "ReservedCode1",
    "ContentPropagator",
    "PropagateID",
    "ReservedCode2",
)
KEY = "AIGC"
_ALLOWED = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\%')
_VALUE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]*")
_LONGEST = 2048


def members(label: Label, content: bytes) -> dict[str, str]:
    """The label of `content` on its first writing: the propagator is the producer, ReservedCode1 its digest.

    >>> list(members(Label("maker", "7", "s@1", "2026-11-22T02:00:00Z"), b"x"))[:3]
    ['Label', 'ContentProducer', 'ProduceID']
    """
    producer, number = escape(label.producer), escape(label.produce_id)
    values = ("1", producer, number, f"sha256:{digest.of_bytes(content)}", producer, number, "")
    return dict(zip(MEMBERS, values, strict=True))


def escape(value: str) -> str:
    """`value` with every character that the standard does not name (and `%`) percent-encoded.

    >>> escape('modern "english" 100%')
    'modern%20%22english%22%20100%25'
    """
    return quote(value, safe=_ALLOWED)


def plain(value: str) -> str:
    """The value as it was before `escape`."""
    return unquote(value)


def from_json(text: str) -> dict[str, str] | None:
    """The members in a JSON text, bare or under the key AIGC; None when it is no label."""
    try:
        raw = json.loads(text[: 8 * _LONGEST])
    except (ValueError, RecursionError):
        return None
    if isinstance(raw, dict) and isinstance(raw.get(KEY), dict):
        raw = raw[KEY]
    return tidy(raw)


def tidy(raw: Any) -> dict[str, str] | None:
    """The seven members of what someone wrote, in order; a missing one is empty; None when it is no label.

    Careless producers leave members out or write numbers: what can be read is read, bounded in size.
    """
    if not isinstance(raw, Mapping) or not any(name in raw for name in MEMBERS):
        return None
    out = {}
    for name in MEMBERS:
        value = raw.get(name, "")
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            return None
        out[name] = str(value)[:_LONGEST]
    return out


def problems(label: Mapping[str, str]) -> list[Sentence]:
    """What in a label breaks the standard; empty when nothing does."""
    out = []
    if tuple(label) != MEMBERS:
        out.append(said("media.gb45438.order"))
    if label.get("Label") not in ("1", "2", "3"):
        out.append(said("media.gb45438.kind", given=label.get("Label", "")))
    out += [
        said("media.gb45438.empty", member=name) for name in ("ContentProducer", "ProduceID") if not label.get(name)
    ]
    out += [said("media.gb45438.character", member=name) for name in label if not _VALUE.fullmatch(label[name])]
    return out
