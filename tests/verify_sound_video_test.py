"""Sealed sounds and films are looked at by the endpoint and the command, which say what they rely on."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from spearhead.core.media import Label, Media
from spearhead.media.sound import tiny
from spearhead.media.video.tiny import film
from spearhead.pipeline import trust
from spearhead.provenance import seal, signing
from spearhead.provenance.signer import Signer
from spearhead.store.home import Home

LABEL = Label("maker", "out-1", "waves@1", "2026-11-22T02:00:00Z", visible=False)


@pytest.mark.parametrize("piece", [tiny.wave_file(), tiny.silence(), film()], ids=lambda piece: piece.mime)
def test_anybody_learns_whether_the_label_of_a_sound_or_a_film_holds(piece: Media, served: Any, tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path)
    sealed = seal.seal(piece, LABEL, signer=Signer(signing.ensure(home)))
    stripped = bytes(sealed.data).replace(b"c2pa", b"c3pa").replace(b"C2PA", b"C3PA")
    elsewhere = {"x-forwarded-for": "203.0.113.44"}  # as a proxy on this machine says
    with httpx.Client(base_url=served.url, headers=elsewhere, timeout=60) as anybody:
        said = anybody.post("/v1/verify", content=sealed.data).json()
        assert said["holds"] is True and said["relied_on"] == ["c2pa", "gb45438"]
        assert [layer["name"] for layer in said["layers"]] == ["c2pa", "gb45438", "visible"]
        bare = anybody.post("/v1/verify", content=piece.data).json()
        assert bare["holds"] is False and bare["made_by_ai"] is False
        assert anybody.post("/v1/verify", content=stripped).json()["relied_on"] != ["c2pa", "gb45438"]
        assert anybody.post("/v1/verify", content=sealed.data[:-9]).json()["holds"] is False
    file = tmp_path / "piece"
    file.write_bytes(sealed.data)
    told = trust.verify(home, file)
    assert told.exit_code == 0 and told.lines()[-1] == "the labels hold"
    file.write_bytes(piece.data)
    assert trust.verify(home, file).exit_code == 1
