"""Trouble with the disk while tensors are written, told as the OSError it is: safetensors has errors of its own."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def trouble_told(place: Path) -> Iterator[None]:
    """Raise OSError, naming `place`, when safetensors cannot write."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(place)) from error
