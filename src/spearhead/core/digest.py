"""Names made of content: sha256 of bytes, files and values. Knows nothing of what the bytes mean."""

import hashlib
import json
from pathlib import Path
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def of_bytes(data: bytes) -> str:
    """The sha256 of `data`, 64 hexadecimal characters."""
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """The sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical(value: Any) -> str:
    """`value` as JSON with sorted keys and no spaces: equal values give equal text.

    >>> canonical({"b": 1, "a": [True, None]})
    '{"a":[true,null],"b":1}'
    """
    return _CANONICAL.encode(value)


def of_value(value: Any) -> str:
    """The sha256 of a JSON value in its canonical form."""
    return of_bytes(canonical(value).encode())
