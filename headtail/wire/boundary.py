"""All tensors of one cut in one frame, which travels as a single UINT8 tensor. No I/O here.

Little endian throughout:

    offset  size
    0       4     magic "HTB1" (the digit is the version)
    4       4     CRC-32 of everything that follows
    8       1     length of the codec id
    9       1     number of tensors
    10      n     codec id, ASCII
    then for each tensor
            1     rank r
            4*r   sizes
            4     payload length
    then the payloads, one behind the other

Sizes must equal the cut's in the manifest, and lengths must add up to the frame's, before anything
is allocated. CRC-32 (zlib's) guards against corruption in transit, not against an attacker.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from headtail.errors import TensorMismatch, TooLarge, WireFault
from headtail.manifest import Cut, QuantTable
from headtail.tensors import Array, TensorSpec, check_arrays
from headtail.wire.codecs import Codec, codec

__all__ = ["INPUT_NAME", "MAX_FRAME_BYTES", "codec_of", "decode_boundary", "encode_boundary"]

INPUT_NAME = "boundary"
MAGIC = b"HTB1"
MAX_FRAME_BYTES = 64 << 20
_PREFIX = struct.Struct("<4sIBB")
_REMEDY = "Encode the frame with headtail.wire.boundary of the same version."


def encode_boundary(arrays: Sequence[Array], cut: Cut, codec_id: str) -> bytes:
    """float32 arrays in the order of `cut.tensors` -> one frame."""
    check_arrays(arrays, cut.tensors)
    chosen = codec(codec_id)
    payloads = [
        chosen.encode(array, table)
        for array, table in zip(arrays, _tables(cut, chosen), strict=True)
    ]
    body = bytearray(codec_id.encode("ascii"))
    for spec, payload in zip(cut.tensors, payloads, strict=True):
        rank = len(spec.shape)
        body += struct.pack(f"<B{rank}II", rank, *spec.shape, len(payload))
    body += b"".join(payloads)
    counts = struct.pack("<BB", len(codec_id), len(arrays))
    return MAGIC + struct.pack("<I", zlib.crc32(counts + body)) + counts + bytes(body)


def decode_boundary(blob: bytes, cut: Cut, *, codec_id: str = "") -> list[Array]:
    """One frame -> float32 arrays in the order of `cut.tensors`.

    Raises `WireFault` for a malformed or corrupted frame, `TensorMismatch` for one of other tensors
    than the cut's or of another codec than `codec_id`, if one is given, `TooLarge` over
    `MAX_FRAME_BYTES`, `UnknownName` for an unknown codec.
    """
    chosen, offset = _open(blob)
    if codec_id and chosen.id != codec_id:
        raise TensorMismatch(
            f"The frame is of codec {chosen.id!r}.",
            expected=f"The codec that was promised is {codec_id!r}.",
            remedy="Make split.codec what the frame was encoded with.",
        )
    _check_count(blob, cut)
    lengths = []
    for spec in cut.tensors:
        offset, length = _tensor_header(blob, offset, spec)
        lengths.append(length)
    if offset + sum(lengths) != len(blob):
        raise _malformed(f"its payloads take {sum(lengths)} of {len(blob) - offset} bytes")
    arrays = []
    for spec, length, table in zip(cut.tensors, lengths, _tables(cut, chosen), strict=True):
        arrays.append(chosen.decode(blob[offset : offset + length], spec, table))
        offset += length
    return arrays


def codec_of(blob: bytes) -> str:
    """The codec id in a frame's header; checks the frame's magic, length and CRC."""
    return _open(blob)[0].id


def _open(blob: bytes) -> tuple[Codec, int]:
    if len(blob) > MAX_FRAME_BYTES:
        raise TooLarge(
            f"The frame has {len(blob)} bytes.",
            expected=f"At most {MAX_FRAME_BYTES}.",
            remedy="Choose a later cut or a codec with fewer bits.",
        )
    if len(blob) < _PREFIX.size:
        raise _malformed(f"it has {len(blob)} bytes")
    magic, crc, id_length, _ = _PREFIX.unpack_from(blob)
    if magic != MAGIC:
        raise _malformed(f"it begins with {magic!r}")
    if zlib.crc32(memoryview(blob)[8:]) != crc:
        raise _malformed("its checksum does not match")
    start = _PREFIX.size
    try:
        name = blob[start : start + id_length].decode("ascii")
    except UnicodeDecodeError:
        raise _malformed("its codec id is not ASCII") from None
    return codec(name), start + id_length


def _check_count(blob: bytes, cut: Cut) -> None:
    count = blob[9]
    if count != len(cut.tensors):
        raise TensorMismatch(
            f"The frame holds {count} tensors.",
            expected=f"{len(cut.tensors)} tensors cross {cut.id!r}.",
            remedy="Name the cut that the head was run to.",
        )


def _tensor_header(blob: bytes, offset: int, spec: TensorSpec) -> tuple[int, int]:
    try:
        rank = blob[offset]
        *shape, length = struct.unpack_from(f"<{min(rank, 16)}II", blob, offset + 1)
    except (IndexError, struct.error):
        raise _malformed("it ends inside a tensor's header") from None
    if tuple(shape) != spec.shape:
        raise TensorMismatch(
            f"The frame's tensor has shape {shape}.",
            expected=f"The cut's tensor is {spec}.",
            remedy="Name the cut that the head was run to.",
        )
    return offset + 1 + 4 * rank + 4, int(length)


def _tables(cut: Cut, chosen: Codec) -> Sequence[QuantTable | None]:
    if not chosen.per:
        return [None] * len(cut.tensors)
    tables = cut.per_tensor if chosen.per == "t" else cut.per_channel
    if len(tables) != len(cut.tensors):
        raise TensorMismatch(
            f"Cut {cut.id!r} has {len(tables)} ranges for {chosen.id}.",
            expected=f"One for each of its {len(cut.tensors)} tensors.",
            remedy="Use raw32 or raw16, or export the bundle with calibration data.",
        )
    return tables


def _malformed(reason: str) -> WireFault:
    return WireFault(
        f"The boundary frame is malformed: {reason}.",
        expected="The layout in headtail/wire/boundary.py, complete.",
        remedy=_REMEDY,
    )
