"""Promises of sealed files: what nobody waits for any more leaves nothing behind."""

import asyncio
import threading
from pathlib import Path

import pytest

from spearhead.core import media
from spearhead.core.media import Label, Media
from spearhead.engine.sealing import Sealer
from spearhead.store.blobs import MARKS, Blobs

LABEL = Label("somebody", "out_1", "tiny@v1", "2026-11-22T00:00:00Z")


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and path.parent.name != MARKS]


@pytest.mark.parametrize("ends", ["while it is sealed", "while it waits", "as it is done"])
def test_a_file_that_nobody_waits_for_any_more_is_not_kept(tmp_path: Path, ends: str) -> None:
    begun, gate = threading.Event(), threading.Event()

    def seal(item: Media, label: Label) -> Media:
        begun.set()
        assert gate.wait(30)
        return item

    sealer = Sealer(seal, blobs=Blobs(tmp_path))

    async def main() -> None:
        first = asyncio.create_task(sealer.make(media.text("the first"), LABEL))
        left = asyncio.create_task(sealer.make(media.text("private"), LABEL)) if ends == "while it waits" else first
        await asyncio.to_thread(begun.wait, 30)
        if ends == "as it is done":
            gate.set()
            while not files(tmp_path):  # the loop stands still: it is not told yet
                pass
        left.cancel()
        gate.set()
        await asyncio.gather(first, left, return_exceptions=True)
        blob, _ = await sealer.make(media.text("the last"), LABEL)
        assert files(tmp_path) == [blob] if left is first else len(files(tmp_path)) == 2
        assert sealer.waiting == 0

    asyncio.run(main())
    sealer.close()
    assert not any(b"private" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
