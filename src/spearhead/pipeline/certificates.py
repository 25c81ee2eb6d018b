"""`spearhead signing`: makes, shows and installs what files and releases are signed with. Shows no private key."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from spearhead.core.errors import InputError
from spearhead.pipeline.desk import opened, write_down
from spearhead.pipeline.told import Told, table
from spearhead.provenance import signing
from spearhead.store.home import Home

LARGEST = 1 << 20


def act(home: Home, action: str, *, chain: Path | None, key: Path | None) -> Told:
    """`spearhead signing make|show|install`."""
    if action == "install":
        if chain is None or key is None:
            raise InputError("signing install: give --chain CHAIN.pem and --key KEY.pem")
        signing.install(home, chain=_read(chain), key=_read(key))
    elif action == "show" and not home.secrets.is_dir():
        raise InputError(f"there are no keys in {home.secrets} yet: `spearhead signing make` makes them")
    keys = signing.ensure(home)
    found = x509.load_pem_x509_certificates(keys.chain)
    own = not (home.secrets / "c2pa-chain.pem").exists()
    rows = [
        [one.subject.rfc4514_string(), one.not_valid_after_utc.date().isoformat(), one.fingerprint(SHA256()).hex()]
        for one in found
    ]
    if action == "install":
        write_down(opened(home), "signing chain installed", rows[0][2], {"subject": rows[0][0], "until": rows[0][1]})
    words = table(("certificate", "until", "sha256"), rows)
    words.append(f"releases are signed with the Ed25519 key {keys.public.hex()}")
    if own:
        words.append("made here: readers find what it signs valid and the signer unknown (an authority's: install)")
    if home.time_stamps:
        words.append(f"the time of each signature is stamped by {home.time_stamps}")
    values = [dict(zip(("subject", "until", "sha256"), row, strict=True)) for row in rows]
    return Told(
        {"certificates": values, "release_key": keys.public.hex(), "own": own, "time_stamps": home.time_stamps}, words
    )


def _read(path: Path) -> bytes:
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise InputError(f"{path}: wanted a PEM file of at most {LARGEST:,} bytes")
    return path.read_bytes()
