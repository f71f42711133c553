"""The same bundle as one .zip, for transport: packing is deterministic, unpacking trusts nothing.

Written: members stored (no compression), sorted by name, dated 1980-01-01, mode 644, no comment, no
ZIP64. Reports stay at home, so the file depends on nothing but the bundle's content and, if it is
signed, on the key: Ed25519 signs the same bytes always in the same way.

Read, in this order, each step before anything larger is touched: the end record (its position and
counts, so that a directory of a million entries is never parsed), the directory (names, flags,
sizes), the manifest (seal, schema), its signature, then each file in chunks against its promised
size and hash.
Layout of the records: APPNOTE.TXT 6.3.10, sections 4.3.12 and 4.3.16,
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import IO

from headtail.bundle.reading import CHUNK, Bundle, integrity, open_regular
from headtail.bundle.signature import (
    MAX_SIGNATURE_BYTES,
    SIGNATURE,
    Signature,
    read_signature,
)
from headtail.bundle.staging import Staging
from headtail.errors import HeadtailError, TooLarge, UsageFault
from headtail.manifest import MANIFEST, MAX_MANIFEST_BYTES, FileRecord, Manifest, is_plain_path

__all__ = ["MAX_BUNDLE_BYTES", "MAX_ENTRIES", "copy_checked", "pack_zip", "unpack_zip", "write_zip"]

MAX_BUNDLE_BYTES = 2_000_000_000  # zipfile resorts to ZIP64 near 2 GiB, less a margin of 5 %
MAX_ENTRIES = 4096
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a .zip can say
END = struct.Struct("<4s4H2LH")  # end of central directory: signature ... comment length
DIRECTORY_ENTRY = 46  # bytes of a directory entry without its name
MAX_NAME = 255
ENCRYPTED = 0x1
# what zipfile raises on malformed input
_MALFORMED = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)


def pack_zip(bundle: Bundle, path: Path) -> None:
    """Write the bundle's content to `path`, atomically, replacing what was there.

    Raises as `write_zip`.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            write_zip(bundle, out)
            out.flush()
            os.fsync(out.fileno())
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_zip(bundle: Bundle, out: IO[bytes]) -> None:
    """Write the bundle's content to `out`, from its present position.

    Every file is hashed as it is read: `IntegrityFault` names one that changed. `TooLarge` over
    `MAX_BUNDLE_BYTES` or `MAX_ENTRIES`.
    """
    files = bundle.manifest.files
    sealed = {MANIFEST: bundle.manifest.to_bytes()}
    if signature := read_signature(bundle):
        sealed[SIGNATURE] = signature.to_bytes()
    size = sum(r.size for r in files.values()) + sum(map(len, sealed.values()))
    _check_total(str(bundle.path), size, len(files) + len(sealed))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for rel in sorted([*files, *sealed]):
            if rel in sealed:
                archive.writestr(_member(rel, len(sealed[rel])), sealed[rel])
            else:
                _pack(archive, bundle, rel)


def unpack_zip(path: Path, destination: Path) -> Bundle:
    """Unpack and check `path` into `destination` (new, named `NAME.bundle`), all or nothing.

    Raises `UsageFault` (not a .zip, or the destination exists), `TooLarge`, `IntegrityFault`
    (`.file` is the member at fault, or the archive's own name), `SchemaFault`.
    """
    try:
        with path.open("rb") as file:
            _check_end_record(file, path.name)
            with zipfile.ZipFile(file) as archive, Staging(destination) as staging:
                bundle = _unpack(archive, staging)
                staging.commit()
                return bundle
    except HeadtailError:
        raise
    except _MALFORMED as error:
        raise integrity(path.name, f"is not a readable .zip ({error})", "A stored .zip.") from None


def _member(rel: str, size: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(rel, EPOCH)
    info.create_system = 3  # Unix: without this Windows would write other bytes
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.file_size = size
    return info


def _pack(archive: zipfile.ZipFile, bundle: Bundle, rel: str) -> None:
    record = bundle.manifest.files[rel]
    member = _member(rel, record.size)
    with open_regular(bundle.path, rel) as source, archive.open(member, "w") as out:
        copy_checked(source, out, rel, record)


def copy_checked(source: IO[bytes], out: IO[bytes], rel: str, record: FileRecord) -> None:
    """Copy in chunks, never more than promised; `IntegrityFault` if size or hash differ."""
    digest, copied = hashlib.sha256(), 0
    while chunk := source.read(min(CHUNK, record.size - copied + 1)):
        copied += len(chunk)
        if copied > record.size:
            break
        digest.update(chunk)
        out.write(chunk)
    if copied != record.size or digest.hexdigest() != record.sha256:
        raise integrity(rel, "has other bytes", f"{record.size} bytes as the manifest promises.")


def _check_end_record(file: IO[bytes], name: str) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END.size))
    tail = file.read(END.size)
    if len(tail) < END.size or not tail.startswith(b"PK\x05\x06"):
        raise UsageFault(
            f"{name} ({size} bytes) does not end as a .zip does.",
            expected="A bundle's folder, or a .zip without comment and without ZIP64.",
            remedy="Check the path, or fetch the file again.",
        )
    _, disk, first_disk, here, entries, directory, offset, comment = END.unpack(tail)
    _check_total(name, size, entries)
    whole = offset + directory + END.size == size and not (disk or first_disk or comment)
    if not whole or here != entries or directory > entries * (DIRECTORY_ENTRY + MAX_NAME):
        raise integrity(
            name,
            f"says its directory of {entries} entries has {directory} bytes at {offset}",
            f"The directory fills exactly the end of the {size} bytes, with no extra fields.",
        )


def _check_total(name: str, size: int, entries: int) -> None:
    if size > MAX_BUNDLE_BYTES or entries > MAX_ENTRIES:
        raise TooLarge(
            f"{name} has {size} bytes in {entries} files.",
            expected=f"At most {MAX_BUNDLE_BYTES} bytes in {MAX_ENTRIES} files.",
            remedy="Split the model, or leave a format out.",
        )


def _unpack(archive: zipfile.ZipFile, staging: Staging) -> Bundle:
    members = _members(archive)
    with archive.open(members[MANIFEST]) as source:
        data = source.read(MAX_MANIFEST_BYTES)
    manifest = Manifest.from_bytes(data)
    _check_promises(members, manifest)
    (staging.path / MANIFEST).write_bytes(data)
    if SIGNATURE in members:
        with archive.open(members[SIGNATURE]) as source:
            signature = Signature.from_bytes(source.read(MAX_SIGNATURE_BYTES), manifest)
        (staging.path / SIGNATURE).write_bytes(signature.to_bytes())
    for rel, record in sorted(manifest.files.items()):
        target = staging.path / rel
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(members[rel]) as source, target.open("xb") as out:
            copy_checked(source, out, rel, record)
    return Bundle(staging.destination, manifest)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        fault = "appears twice" if info.filename in members else _member_fault(info)
        if fault:
            raise integrity(
                info.orig_filename[:MAX_NAME],
                fault,
                "Members are plain relative names, once each, regular, stored, not encrypted.",
            )
        members[info.filename] = info
    if MANIFEST not in members:
        raise UsageFault(
            f"The .zip of {len(members)} members is not a bundle.",
            expected=f"{MANIFEST} lies at its top.",
            remedy="Pack it with `headtail`, not with the folder around it.",
        )
    for rel, limit in ((MANIFEST, MAX_MANIFEST_BYTES), (SIGNATURE, MAX_SIGNATURE_BYTES)):
        if rel in members and members[rel].file_size > limit:
            raise integrity(rel, "is too large", f"At most {limit} bytes.")
    return members


def _member_fault(info: zipfile.ZipInfo) -> str | None:
    # orig_filename is before zipfile cut it at NUL or turned backslashes
    if info.orig_filename != info.filename or not is_plain_path(info.filename):
        return "is not a plain relative name"
    if info.flag_bits & ENCRYPTED:
        return "is encrypted"
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        return "is compressed"
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return f"has file mode {mode:o}"
    return None


def _check_promises(members: dict[str, zipfile.ZipInfo], manifest: Manifest) -> None:
    """Names and sizes are exactly the manifest's, before any file is written."""
    expected = {*manifest.files, MANIFEST}
    for rel in sorted((members.keys() - {SIGNATURE}) ^ expected):
        what = "is in the .zip" if rel in members else "is missing from the .zip"
        raise integrity(rel, what, "The .zip holds what the manifest promises and nothing else.")
    for rel, record in sorted(manifest.files.items()):
        if members[rel].file_size != record.size:
            raise integrity(
                rel, f"has {members[rel].file_size} bytes", f"The manifest promises {record.size}."
            )
