"""Promises of time stamps: a real authority (`openssl ts`) stamps what is signed, and nobody else is asked."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import encypher_c2pa
import numpy as np
import pytest

from spearhead.core import media
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.media import Label, Media
from spearhead.media.image import codec
from spearhead.provenance import seal, signing
from spearhead.provenance.signer import Signer
from spearhead.provenance.verify import holds, verify
from spearhead.store.home import Home

LABEL = Label("maker", "out-1", "s@1", "2026-11-22T02:00:00Z")
CONFIG = """
[tsa]
default_tsa = own
[own]
serial = {0}/serial
crypto_device = builtin
signer_cert = {0}/leaf.pem
certs = {0}/root.pem
signer_key = {0}/leaf.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
"""


class Clock(ThreadingHTTPServer):
    """An authority on this machine; `answers` false: it is there and gives nothing of use."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.answers, self.asked = folder, True, 0
        super().__init__(("127.0.0.1", 0), Ask)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Ask(BaseHTTPRequestHandler):
    """A query as the body, the reply of `openssl ts` as the answer."""

    server: Clock

    def do_POST(self) -> None:
        """One time stamp."""
        query = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked += 1
        place = self.server.folder
        (place / "query").write_bytes(query)
        line = ("ts", "-reply", "-config", str(place / "conf"), "-queryfile", str(place / "query"))
        reply = openssl(*line) if self.server.answers else b"no stamps today"
        self.send_response(200)
        self.send_header("content-type", "application/timestamp-reply")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *words: object) -> None:
        """Nothing."""


def openssl(*line: str) -> bytes:
    return subprocess.run(["openssl", *line], check=True, capture_output=True).stdout


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Clock]:
    if shutil.which("openssl") is None and "SPEARHEAD_CI" not in os.environ:
        pytest.skip("openssl is not installed: `apt-get install openssl` enables it")
    place = tmp_path / "authority"
    place.mkdir()
    (place / "conf").write_text(CONFIG.format(place))
    (place / "serial").write_text("01\n")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    root, leaf = (str(place / name) for name in ("root", "leaf"))
    openssl("req", "-x509", *new, "-keyout", f"{root}.key", "-out", f"{root}.pem", "-subj", "/O=test/CN=root")
    openssl("req", *new, "-keyout", f"{leaf}.key", "-out", f"{leaf}.csr", "-subj", "/O=test/CN=clock")
    issue = ("-CA", f"{root}.pem", "-CAkey", f"{root}.key", "-CAcreateserial", "-extfile", str(place / "conf"))
    openssl("x509", "-req", "-in", f"{leaf}.csr", *issue, "-extensions", "leaf", "-out", f"{leaf}.pem")
    server = Clock(place)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path)


def pieces() -> list[Media]:
    return [media.text("some words\n"), codec.write(np.full((300, 300, 3), 200, np.uint8))]


@pytest.mark.parametrize("number", [0, 1])
def test_a_stamped_signature_says_when_it_was_there_and_two_readers_see_it(
    number: int, authority: Clock, home: Home
) -> None:
    piece, keys = pieces()[number], signing.ensure(home)
    sealed = seal.seal(piece, LABEL, signer=Signer(keys, time_stamps=authority.url))
    found = seal.read(sealed).c2pa
    assert authority.asked == 1 and found and found.state == "Valid" and not found.stamp_trusted
    assert abs((datetime.fromisoformat(found.stamped) - datetime.now(UTC)).total_seconds()) < 120
    layers = verify(sealed.data)
    assert (
        holds(layers)
        and f"signed before {found.stamped}" in str(layers[0].detail)
        and "not known" in str(layers[0].detail)
    )
    if number:
        report = dict(encypher_c2pa.verify(sealed.data, sealed.mime, online=False))
        codes = [one["code"] for part in report["validation_results"].values() for one in part]
        assert report["integrity"] == "valid" and any(code.startswith("timeStamp.") for code in codes)
        # The time in the stamp, a GeneralizedTime in DER, put a century back.
        earlier = re.sub(rb"(?<=\x18\x0f)20(?=\d{12}Z)", b"19", sealed.data)
        told = seal.read(Media(sealed.modality, sealed.mime, earlier)).c2pa
        assert earlier != sealed.data and told is not None and told.stamped == ""


def test_without_an_address_nobody_is_asked_and_nothing_is_said_of_time(authority: Clock, home: Home) -> None:
    for piece in pieces():
        sealed = seal.seal(piece, LABEL, signer=Signer(signing.ensure(home)))
        found = seal.read(sealed).c2pa
        assert (
            found and found.valid and found.stamped == "" and "signed before" not in str(verify(sealed.data)[0].detail)
        )
    assert authority.asked == 0


def test_an_authority_that_is_away_or_gives_no_stamp_lets_nothing_out(authority: Clock, home: Home) -> None:
    keys = signing.ensure(home)
    authority.answers = False
    for address in (authority.url, "http://127.0.0.1:9/"):
        for piece in pieces():
            with pytest.raises(SpearheadError, match="127.0.0.1"):
                seal.seal(piece, LABEL, signer=Signer(keys, time_stamps=address))
    for wrong in ("", "clock", "ftp://example.org/", "http://", "https://a b"):
        with pytest.raises(InputError, match="no time-stamp authority"):
            Signer(keys, time_stamps=wrong)


def test_the_address_is_the_operators(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Home.find(tmp_path).time_stamps is None
    monkeypatch.setenv("SPEARHEAD_TIME_STAMPS", "http://127.0.0.1:9/")
    assert Home.find(tmp_path).time_stamps == "http://127.0.0.1:9/"
