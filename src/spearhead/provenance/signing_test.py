"""Keys: made once, kept close, and of the form that readers of signatures want."""

import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from spearhead.core.errors import InputError, SpearheadError
from spearhead.provenance import signing
from spearhead.store.home import Home

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)


def home(folder: Path) -> Home:
    return Home(folder / "home", folder / "cache")


def test_keys_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    keys = signing.ensure(home(tmp_path))
    assert signing.ensure(home(tmp_path)) == keys
    folder = home(tmp_path).secrets
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert sorted(path.name for path in files) == ["c2pa-leaf.pem", "c2pa-root.pem", "release.key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_private_keys_never_show(tmp_path: Path) -> None:
    keys = signing.ensure(home(tmp_path))
    assert "PRIVATE" not in repr(keys) and keys.release.hex() not in repr(keys) and repr(keys.release) not in repr(keys)


def test_processes_that_start_at_once_agree_on_the_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: signing.ensure(home(tmp_path)), range(8)))
    assert all(keys == made[0] for keys in made)


def test_openssl_accepts_the_chain(tmp_path: Path) -> None:
    keys = signing.ensure(home(tmp_path))
    leaf, root = (
        part + b"-----END CERTIFICATE-----\n" for part in keys.chain.split(b"-----END CERTIFICATE-----\n")[:2]
    )
    (tmp_path / "leaf.pem").write_bytes(leaf)
    (tmp_path / "root.pem").write_bytes(root)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "smimesign", "-CAfile", "root.pem", "leaf.pem"]
    seen = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert seen.returncode == 0, seen.stderr


def test_the_leaf_may_sign_content_and_nothing_else(tmp_path: Path) -> None:
    keys = signing.ensure(home(tmp_path))
    leaf, root = x509.load_pem_x509_certificates(keys.chain)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    purposes = list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == [x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.version is x509.Version.v3 and leaf.issuer == root.subject
    public = root.public_key()
    assert isinstance(public, EllipticCurvePublicKey)
    public.verify(leaf.signature, leaf.tbs_certificate_bytes, ECDSA(SHA256()))


def test_an_expired_leaf_is_replaced_under_the_same_root(tmp_path: Path) -> None:
    old = signing.ensure(home(tmp_path), now=lambda: NOW)
    new = signing.ensure(home(tmp_path), now=lambda: NOW + timedelta(days=3 * 365))
    first, second = x509.load_pem_x509_certificates(old.chain), x509.load_pem_x509_certificates(new.chain)
    assert first[0] != second[0] and first[1] == second[1]
    assert old.release == new.release


def test_an_operators_own_chain_comes_first(tmp_path: Path) -> None:
    own = signing.ensure(home(tmp_path / "other"))
    signing.ensure(home(tmp_path))
    (home(tmp_path).secrets / "c2pa-chain.pem").write_bytes(own.chain)
    (home(tmp_path).secrets / "c2pa-key.pem").write_bytes(own.c2pa)
    assert signing.ensure(home(tmp_path)).chain == own.chain


def test_a_damaged_key_is_named_and_not_replaced(tmp_path: Path) -> None:
    signing.ensure(home(tmp_path))
    path = home(tmp_path).secrets / "release.key"
    path.write_bytes(b"short")
    with pytest.raises(SpearheadError, match="cannot be used"):
        signing.ensure(home(tmp_path))
    assert path.read_bytes() == b"short"


# RFC 8032 section 7.1, test 2
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_signatures_are_those_of_rfc_8032() -> None:
    assert signing.sign_bytes(b"\x72", key=SEED) == SIGNATURE
    assert signing.verify_bytes(b"\x72", SIGNATURE, public=PUBLIC)


def test_a_changed_byte_is_no_longer_signed() -> None:
    assert not signing.verify_bytes(b"\x73", SIGNATURE, public=PUBLIC)
    assert not signing.verify_bytes(b"\x72", SIGNATURE[:-1] + b"\1", public=PUBLIC)
    assert not signing.verify_bytes(b"\x72", b"", public=PUBLIC)
    assert not signing.verify_bytes(b"\x72", SIGNATURE, public=os.urandom(32))


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="32 bytes, got 3"):
        signing.verify_bytes(b"", SIGNATURE, public=b"abc")


def test_an_authoritys_chain_takes_the_place_of_the_own_one_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    authority, here = signing.ensure(home(tmp_path / "authority")), home(tmp_path / "here")
    own, other = signing.ensure(here), signing.ensure(home(tmp_path / "other"))
    end = b"-----END CERTIFICATE-----\n"
    leaf, root = (part + end for part in authority.chain.split(end)[:2])
    for chain, key, why in (
        (authority.chain, other.c2pa, "not the first certificate's"),
        (root + leaf, authority.c2pa, "not the first certificate's"),
        (leaf + other.chain.split(end)[1] + end, authority.c2pa, "was not issued by"),
        (b"", authority.c2pa, "cannot be read"),
        (authority.chain, b"x", "cannot be read"),
    ):
        with pytest.raises(InputError, match=why):
            signing.install(here, chain=chain, key=key)
        assert signing.ensure(here) == own
    with pytest.raises(InputError, match="in force from"):
        signing.install(here, chain=authority.chain, key=authority.c2pa, now=lambda: datetime(2099, 1, 1, tzinfo=UTC))
    signing.install(here, chain=authority.chain, key=authority.c2pa)
    now = signing.ensure(here)
    assert (now.chain, now.c2pa, now.release) == (authority.chain, authority.c2pa, own.release)
    assert {stat.S_IMODE(path.stat().st_mode) for path in here.secrets.iterdir()} == {0o600}


def test_who_signs_while_another_chain_is_installed_signs_with_a_key_that_fits_its_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (signing.ensure(home(tmp_path / name)) for name in ("first", "second"))
    here, read, later = home(tmp_path / "here"), Path.read_bytes, [second]
    signing.install(here, chain=first.chain, key=first.c2pa)

    def overtaken(path: Path) -> bytes:
        if path.name == "c2pa-key.pem" and later:
            new = later.pop()
            signing.install(here, chain=new.chain, key=new.c2pa)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", overtaken)
    found = signing.ensure(here)
    assert (found.chain, found.c2pa) == (second.chain, second.c2pa)
