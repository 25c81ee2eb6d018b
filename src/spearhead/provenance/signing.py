"""Keys that sign: a test root and leaf for C2PA, an Ed25519 key for releases. Knows nothing of what is signed.

The certificates are an installation's own: readers find what they sign valid and the signer untrusted, until the
operator puts a chain and key from a certificate authority in their place (`c2pa-chain.pem`, `c2pa-key.pem`).
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spearhead.core import clock
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.files import write_whole
from spearhead.store.home import Home

ROOT_YEARS, LEAF_YEARS = 10, 2


@dataclass(frozen=True, slots=True)
class Keys:
    """What an installation signs with. Private parts never show in a repr."""

    chain: bytes
    """PEM, leaf first."""
    c2pa: bytes = field(repr=False)
    """PEM of the leaf's key (ES256)."""
    release: bytes = field(repr=False)
    """The Ed25519 seed, 32 bytes."""
    public: bytes
    """The Ed25519 public key, 32 bytes: what releases are verified with."""


def ensure(home: Home, *, now: clock.Clock = clock.now) -> Keys:
    """The keys of an installation, made on first use under `home.secrets` (0700, files 0600).

    A leaf that has expired is replaced under the same root. Raises SpearheadError when what is there cannot be read.
    """
    folder = home.secrets
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chmod(folder, 0o700)
    try:
        seed = _seed(folder / "release.key")
        chain, key = _leaf(folder, now())
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    except (OSError, ValueError) as error:
        raise SpearheadError(
            f"the signing keys in {folder} cannot be used ({type(error).__name__}): restore them from a backup, "
            "or move the folder away to have new ones made"
        ) from error
    return Keys(chain, key, seed, public.public_bytes(Encoding.Raw, PublicFormat.Raw))


def public(home: Home) -> bytes | None:
    """What this installation's releases are verified with (Ed25519, 32 bytes); None where no key was made yet.

    Makes nothing; raises SpearheadError when the key cannot be read.
    """
    path = home.secrets / "release.key"
    try:
        private = Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SpearheadError(f"{path} cannot be read ({type(error).__name__}): restore it from a backup") from error
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def install(home: Home, *, chain: bytes, key: bytes, now: clock.Clock = clock.now) -> None:
    """Sign content with a chain and key of an authority from now on; files that were signed before stay as they are.

    Raises InputError, and changes nothing, unless the key is the first certificate's, each certificate was issued by
    the next, and the first may sign and is in force.
    """
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise InputError(f"the chain or the key cannot be read: wanted PEM, the key not encrypted ({error})") from error
    leaf = certificates[0]
    if not isinstance(private, EllipticCurvePrivateKey) or not isinstance(private.curve, SECP256R1):
        raise InputError("the key is of another kind: wanted an elliptic-curve key over P-256 (ES256)")
    if leaf.public_key() != private.public_key():
        raise InputError("the key is not the first certificate's: the signer's own comes first in the chain")
    for one, above in zip(certificates, certificates[1:], strict=False):
        try:
            one.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise InputError(f"{one.subject.rfc4514_string()} was not issued by the certificate after it") from error
    if not leaf.not_valid_before_utc <= now() < leaf.not_valid_after_utc:
        raise InputError(f"the certificate is in force from {leaf.not_valid_before_utc} to {leaf.not_valid_after_utc}")
    try:
        signs = leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        signs = False
    if not signs:
        raise InputError("the certificate may not sign: its key usage lacks digitalSignature")
    ensure(home, now=now)  # the folder, with its modes
    # The key first: with a chain alone, or a key alone, the installation's own are used.
    (home.secrets / "c2pa-chain.pem").unlink(missing_ok=True)
    write_whole(home.secrets / "c2pa-key.pem", key, mode=0o600)
    write_whole(home.secrets / "c2pa-chain.pem", chain, mode=0o600)


def sign_bytes(data: bytes, *, key: bytes) -> bytes:
    """The Ed25519 signature of `data` (64 bytes) by a seed."""
    return Ed25519PrivateKey.from_private_bytes(key).sign(data)


def verify_bytes(data: bytes, signature: bytes, *, public: bytes) -> bool:
    """Whether `signature` is that of `data` by the owner of `public`; raises InputError on a key that is none."""
    try:
        key = Ed25519PublicKey.from_public_bytes(public)
    except ValueError as error:
        raise InputError(f"an Ed25519 public key has 32 bytes, got {len(public)}") from error
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _seed(path: Path) -> bytes:
    if not path.exists():
        made = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        _keep(path, made)
    seed = path.read_bytes()
    if len(seed) != 32:
        raise ValueError("an Ed25519 seed has 32 bytes")
    return seed


def _keep(path: Path, data: bytes) -> None:
    """Write a secret unless another process was first: one installation, one key."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    write_whole(draft, data, mode=0o600)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _leaf(folder: Path, moment: datetime) -> tuple[bytes, bytes]:
    """The chain and the leaf's key; both are in one file, so that they change together."""
    chain_path, key_path = folder / "c2pa-chain.pem", folder / "c2pa-key.pem"
    while chain_path.exists() and key_path.exists():  # the operator's own
        with suppress(FileNotFoundError):  # another pair is put there at this moment: both are read anew
            chain, key = chain_path.read_bytes(), key_path.read_bytes()
            if chain_path.read_bytes() == chain:
                return chain, key
    root_path, leaf_path = folder / "c2pa-root.pem", folder / "c2pa-leaf.pem"
    if not root_path.exists():
        _keep(root_path, _root(moment))
    if not leaf_path.exists():
        _keep(leaf_path, _issue(root_path.read_bytes(), moment))
    key, chain = _parts(leaf_path.read_bytes())
    if x509.load_pem_x509_certificate(chain).not_valid_after_utc <= moment:
        write_whole(leaf_path, _issue(root_path.read_bytes(), moment), mode=0o600)
        key, chain = _parts(leaf_path.read_bytes())
    return chain, key


def _parts(pem: bytes) -> tuple[bytes, bytes]:
    """The key and the certificates of a file that holds the key first."""
    end = b"-----END PRIVATE KEY-----\n"
    key, mark, certificates = pem.partition(end)
    if not mark:
        raise ValueError("no private key in the file")
    return key + mark, certificates


def _root(moment: datetime) -> bytes:
    key = generate_private_key(SECP256R1())
    name = _name("spearhead test root")
    certificate = (
        _certificate(name, name, key, moment, years=ROOT_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pem(key) + certificate.public_bytes(Encoding.PEM)


def _issue(root: bytes, moment: datetime) -> bytes:
    root_key_pem, root_pem = _parts(root)
    root_key, issuer = load_pem_private_key(root_key_pem, None), x509.load_pem_x509_certificate(root_pem)
    if not isinstance(root_key, EllipticCurvePrivateKey):
        raise ValueError("the root's key is not an elliptic-curve key")
    key = generate_private_key(SECP256R1())
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    certificate = (
        _certificate(_name("spearhead content signer"), issuer.subject, key, moment, years=LEAF_YEARS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(above, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    return _pem(key) + certificate.public_bytes(Encoding.PEM) + root_pem


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "spearhead installation"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, moment: datetime, *, years: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(minutes=5))
        .not_valid_after(moment + timedelta(days=365 * years))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
