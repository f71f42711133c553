"""`signature`, a file beside the manifest: whoever holds an Ed25519 key vouches for this bundle.

    signature = canonical {"algorithm": "ed25519", "public_key": hex, "signature": hex}

Signed is `CONTEXT` and then the bytes of `manifest.json`, which have the hash of every file in
them. The context keeps a signature made for anything else from counting here.

A signature that is there has to fit, wherever a bundle is opened: its bytes are the bundle's, and a
changed one is found like any other. Whom to trust is another question, which a companion server
asks (`check_trusted`). A phone does not: it trusts the server that it was paired with (pinned TLS)
for which bundle it gets, and the bundle's hash for its bytes.

Verifying needs no library; signing does, because it must not leak the key (`cryptography`).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headtail.bundle.ed25519 import verify
from headtail.bundle.reading import Bundle, integrity, read_limited
from headtail.errors import IntegrityFault, MissingDependency, SchemaFault, UsageFault
from headtail.manifest import Manifest
from headtail.strictjson import canonical_bytes, from_json, parse

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "MAX_SIGNATURE_BYTES",
    "SIGNATURE",
    "Signature",
    "check_trusted",
    "is_public_key",
    "make_key",
    "read_signature",
    "sign",
]

SIGNATURE = "signature"
ALGORITHM = "ed25519"
CONTEXT = b"headtail bundle manifest v1\0"
MAX_SIGNATURE_BYTES = 1024
_HEX = re.compile(r"[0-9a-f]+")
_KEY_DIGITS, _SIGNATURE_DIGITS = 64, 128


@dataclass(frozen=True)
class Signature:
    """`public_key` (32 bytes) and `signature` (64 bytes) in lower-case hex."""

    algorithm: str
    public_key: str
    signature: str

    def to_bytes(self) -> bytes:
        """As they stand in the file."""
        return canonical_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes, manifest: Manifest) -> Signature:
        """Parse, and check that it is a signature of `manifest`; else `IntegrityFault`."""
        try:
            found = from_json(cls, parse(data))
        except SchemaFault as error:
            raise _fault(f"is malformed ({error.what})") from None
        if found.algorithm != ALGORITHM or found.to_bytes() != data:
            raise _fault(f"is of algorithm {found.algorithm[:40]!r}, or not canonical JSON")
        if not is_public_key(found.public_key) or not _is_hex(found.signature, _SIGNATURE_DIGITS):
            raise _fault("has a key or signature of another length")
        key, signature = bytes.fromhex(found.public_key), bytes.fromhex(found.signature)
        if not verify(key, CONTEXT + manifest.to_bytes(), signature):
            raise _fault(f"by key {found.public_key} is not of this manifest")
        return found


def read_signature(bundle: Bundle) -> Signature | None:
    """The signature in a bundle's folder, None if it has none.

    Raises `IntegrityFault` if there is one that does not fit.
    """
    if not os.path.lexists(bundle.path / SIGNATURE):
        return None
    data = read_limited(bundle.path, SIGNATURE, limit=MAX_SIGNATURE_BYTES)
    return Signature.from_bytes(data, bundle.manifest)


def check_trusted(bundle: Bundle, trusted: Collection[str]) -> None:
    """Raise `IntegrityFault` unless one of `trusted` (public keys in hex) signed the bundle."""
    signature = read_signature(bundle)
    if signature is not None and signature.public_key in trusted:
        return
    signer = "nobody" if signature is None else f"key {signature.public_key}"
    raise IntegrityFault(
        f"Bundle {bundle.manifest.bundle_id} of {bundle.manifest.name!r} is signed by {signer}.",
        file=SIGNATURE,
        expected=f"This server takes bundles signed by {' or '.join(sorted(trusted))}.",
        remedy="Sign it with `headtail sign` and a trusted key, or trust its key (trusted_keys).",
    )


def is_public_key(text: str) -> bool:
    """Whether it is 32 bytes in lower-case hex."""
    return _is_hex(text, _KEY_DIGITS)


def sign(bundle: Bundle, key_file: Path, *, force: bool = False) -> Signature:
    """Sign a bundle's folder with the private key in `key_file` (PEM), atomically.

    Raises `UsageFault` for a file that is no such key, and for a bundle signed by somebody else
    unless `force`; `MissingDependency` without `cryptography`.
    """
    held = read_signature(bundle)
    key = _private_key(key_file)
    signature = Signature(
        ALGORITHM,
        key.public_key().public_bytes_raw().hex(),
        key.sign(CONTEXT + bundle.manifest.to_bytes()).hex(),
    )
    if held is not None and held != signature and not force:
        raise UsageFault(
            f"{bundle.path.name} is signed by key {held.public_key} already.",
            expected="A bundle has one signature.",
            remedy="Pass force (--force) to replace it.",
        )
    _write(bundle.path / SIGNATURE, signature.to_bytes(), mode=0o644)
    return signature


def make_key(key_file: Path) -> str:
    """Write a new private key to `key_file` (PEM, PKCS 8, mode 600); its public key in hex.

    Raises `UsageFault` if the file exists.
    """
    if os.path.lexists(key_file):
        raise UsageFault(
            f"{key_file} already exists.",
            expected="A key is never overwritten.",
            remedy="Choose another name, or sign with the key that is there.",
        )
    private_class = _library()
    from cryptography.hazmat.primitives import serialization

    key = private_class.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(key_file, pem, mode=0o600)
    return key.public_key().public_bytes_raw().hex()


def _private_key(key_file: Path) -> Ed25519PrivateKey:
    private_class = _library()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:  # TypeError: it has a password
        raise _no_key(key_file, str(error).splitlines()[0]) from None
    if not isinstance(key, private_class):
        raise _no_key(key_file, f"it holds {type(key).__name__}")
    return key


def _library() -> type[Ed25519PrivateKey]:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise MissingDependency(
            "cryptography", needed_for="signing bundles", install="pip install cryptography"
        ) from None
    return Ed25519PrivateKey


def _no_key(key_file: Path, why: str) -> UsageFault:
    return UsageFault(
        f"{key_file} cannot be used as a key: {why}.",
        expected="A PEM file with an unencrypted Ed25519 private key (PKCS 8).",
        remedy="Make one with `headtail sign --new-key`, or `openssl genpkey -algorithm ed25519`.",
    )


def _write(path: Path, data: bytes, *, mode: int) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and _HEX.fullmatch(text) is not None


def _fault(what: str) -> IntegrityFault:
    return integrity(SIGNATURE, what, "A signature fits the manifest beside it, or is left out.")
