"""Boundary tensors to bytes and back: one table of versioned codec ids, numpy and zlib only.

    raw32               float32, little endian                      exact
    raw16               float16, little endian                      2^-11 relative, 2^-25 near 0
    aq{2,3,4,5,6,8}t    affine codes, one range per tensor          half a step inside its range
    aq{2,3,4,5,6,8}c    the same, one range per channel (axis 1)    half a step inside its range
    ...+deflate         any of them through raw deflate             no further loss

Affine codes: q = round((x - low) / (high - low) * (2^bits - 1)), clipped to [0, 2^bits - 1]; x' =
low + q * (high - low) / (2^bits - 1). Ranges are static, from calibration, and stand in the
manifest (`QuantTable`); nothing about them is sent. `low == high` codes to 0 and decodes to `low`;
values outside a range saturate. The arithmetic is float32, whose rounding `Codec.error_bound` adds.

Codes are packed densely, least significant bit first: code i takes bits [i*bits, (i+1)*bits) of the
stream, bit k of the stream is bit k%8 of byte k//8, and the last byte is padded with zeros. Packing
comes before compression, and zlib's run-length strategy finds what is left as well as zstd does;
zlib is on every phone (https://www.rfc-editor.org/rfc/rfc1951, https://zlib.net/manual.html).
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headtail.errors import TensorMismatch, UnknownName, UsageFault, WireFault
from headtail.manifest import QuantTable
from headtail.tensors import Array, TensorSpec

__all__ = ["CODEC_IDS", "Codec", "codec"]

Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

AFFINE_BITS = (2, 3, 4, 5, 6, 8)
DEFLATE = "+deflate"
FLOAT32_BITS, BYTE_BITS, WORD_BYTES = 32, 8, 8
GROUP = 8  # codes that fill whole bytes at every width, and at most one 64-bit word
_LEVEL = 6
_RAW_WINDOW = -15  # 32 KiB window, no zlib header


@dataclass(frozen=True)
class Codec:
    """One codec. `bits` per value; `per` is `t` (tensor), `c` (channel) or empty (no ranges)."""

    id: str
    bits: int
    per: str
    deflate: bool

    def encode(self, array: Array, table: QuantTable | None) -> bytes:
        """float32 array of any shape -> payload; `table` is needed by affine codecs.

        Raises `TensorMismatch` for another dtype and for values that are not finite (for `raw16`:
        beyond 65504), which no range can hold.
        """
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise TensorMismatch(
                f"A boundary tensor is {array.dtype.name}{list(array.shape)}, "
                f"finite: {bool(np.isfinite(array).all())}.",
                expected="Codecs take finite float32 values.",
                remedy="Check the head's output; run the model whole if it overflows.",
            )
        packed = pack(self._quantize(array, table), self.bits) if self.per else self._floats(array)
        if not self.deflate:
            return packed
        machine = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_WINDOW, 9, zlib.Z_RLE)
        return machine.compress(packed) + machine.flush()

    def decode(self, payload: bytes, spec: TensorSpec, table: QuantTable | None) -> Array:
        """Payload -> float32 array of the spec's shape, finite.

        Raises `WireFault` for any other length and for values that `encode` would have refused.
        """
        size = self.packed_bytes(spec)
        packed = _inflate(payload, size) if self.deflate else payload
        if len(packed) != size:
            raise WireFault(
                f"{spec.name!r} came as {len(packed)} bytes of {self.id}.",
                expected=f"{spec} takes {size}.",
                remedy="Encode the tensor with the codec named in the frame.",
            )
        if not self.per:
            values = np.frombuffer(packed, f"<f{self.bits // BYTE_BITS}").astype(np.float32)
            if not np.isfinite(values).all():
                raise WireFault(
                    f"{spec.name!r} came with values that are not finite.",
                    expected="A boundary tensor is finite.",
                    remedy="Run the model whole where its head overflows.",
                )
            return values.reshape(spec.shape)
        codes = unpack(packed, self.bits, spec.elements).reshape(spec.shape)
        low, step, _ = _grid(self, table, spec.shape)
        restored: Floats = codes.astype(np.float32)
        restored *= step
        restored += low
        return restored

    def packed_bytes(self, spec: TensorSpec) -> int:
        """Size before deflate."""
        return (spec.elements * self.bits + 7) // 8

    def error_bound(self, table: QuantTable | None) -> float:
        """Largest |x - x'| for x inside its range, in the units of x; infinite for `raw16`.

        Half a step; 2^-20 of the range's largest magnitude for the rounding of float32; 2^-140 for
        ranges so narrow that a step is subnormal, or 0.
        """
        if not self.per:
            return 0.0 if self.bits == FLOAT32_BITS else float("inf")
        low, high = (side.astype(np.float64) for side in _range(self, table))
        half_step = (high - low) / (2**self.bits - 1) / 2
        largest = np.maximum(np.abs(low), np.abs(high))
        return float(np.max(half_step + largest * 2.0**-20 + 2.0**-140))

    def _floats(self, array: Array) -> bytes:
        with np.errstate(over="ignore"):
            narrowed = array.astype(f"<f{self.bits // BYTE_BITS}")
        if not np.isfinite(narrowed).all():
            raise TensorMismatch(
                f"A boundary tensor holds {float(np.abs(array).max()):g}.",
                expected="float16 holds magnitudes up to 65504.",
                remedy="Use raw32, or a codec with a range of its own.",
            )
        return narrowed.tobytes()

    def _quantize(self, array: Array, table: QuantTable | None) -> Codes:
        low, step, divides = _grid(self, table, array.shape)
        top = np.float32(2**self.bits - 1)
        values: Floats = array.astype(np.float32, copy=False)
        with np.errstate(over="ignore"):  # infinite means far outside the range, and saturates
            scaled = np.subtract(values, low, out=np.empty_like(values))
            if divides:
                np.divide(scaled, step, out=scaled)
            else:  # masked division is five times slower
                scaled = np.divide(scaled, step, out=np.zeros_like(scaled), where=step > 0)
        np.clip(np.rint(scaled, out=scaled), 0, top, out=scaled)
        return scaled.astype(np.uint8)


@functools.lru_cache(maxsize=256)
def _grid(
    codec_: Codec, table: QuantTable | None, shape: tuple[int, ...]
) -> tuple[Floats, Floats, bool]:
    """Lows and steps, shaped to broadcast over a tensor, and whether no step is zero."""
    low, high = _range(codec_, table)
    step = (high - low) / np.float32(2**codec_.bits - 1)
    ranges = shape[1] if codec_.per == "c" and len(shape) > 1 else 1
    if low.size != ranges:
        raise TensorMismatch(
            f"The table for {codec_.id} has {low.size} ranges.",
            expected=f"A tensor of shape {list(shape)} takes {ranges}.",
            remedy="Use the table of this cut and tensor.",
        )
    form = (ranges, *[1] * (len(shape) - 2)) if shape else ()
    low, step = low.reshape(form), step.reshape(form)
    low.flags.writeable = step.flags.writeable = False  # everybody gets the same ones
    return low, step, bool((step > 0).all())


def _range(codec_: Codec, table: QuantTable | None) -> tuple[Floats, Floats]:
    if table is None:
        raise UsageFault(
            f"Codec {codec_.id} was used without a table of ranges.",
            expected="Affine codecs take their ranges from the manifest's cut.",
            remedy="Pass the cut's table, or use raw32 or raw16.",
        )
    with np.errstate(over="ignore"):
        low, high = np.asarray(table.low, np.float32), np.asarray(table.high, np.float32)
        usable = low.shape == high.shape and bool(((high >= low) & np.isfinite(high - low)).all())
    if not usable:
        raise UsageFault(
            f"The table for {codec_.id} has ranges {table.low[:4]} to {table.high[:4]}.",
            expected="Every range is float32 with low <= high and a finite width.",
            remedy="Export the bundle again.",
        )
    return low, high


def _inflate(payload: bytes, size: int) -> bytes:
    """At most `size` bytes are ever made: a deflate bomb ends as a wrong length."""
    machine = zlib.decompressobj(_RAW_WINDOW)
    try:
        data = machine.decompress(payload, size + 1)
    except zlib.error as error:
        raise WireFault(
            f"The payload is not deflate data ({error}).",
            expected="Raw deflate, without a zlib header.",
            remedy="Encode the tensor with the codec named in the frame.",
        ) from None
    if len(data) > size or not machine.eof or machine.unused_data:
        raise WireFault(
            f"The payload holds {'more' if len(data) > size else 'other'} than its tensor.",
            expected=f"Exactly {size} bytes after inflating, and nothing behind them.",
            remedy="Encode the tensor with the codec named in the frame.",
        )
    return data


def pack(codes: Codes, bits: int) -> bytes:
    """Dense little-endian bit packing of uint8 codes below 2^bits."""
    flat = codes.reshape(-1)
    if bits == BYTE_BITS:
        return flat.tobytes()
    groups = np.zeros((-(-flat.size // GROUP), GROUP), np.uint64)
    groups.reshape(-1)[: flat.size] = flat
    words = np.zeros(len(groups), np.uint64)
    for place in range(GROUP):
        words |= groups[:, place] << np.uint64(place * bits)
    packed = words.astype("<u8", copy=False).view(np.uint8).reshape(-1, WORD_BYTES)[:, :bits]
    return packed.tobytes()[: (flat.size * bits + 7) // 8]


def unpack(packed: bytes, bits: int, count: int) -> Codes:
    """The inverse of `pack`; bits after the last code must be zero, or `WireFault`."""
    stream = np.frombuffer(packed, np.uint8)
    if bits == BYTE_BITS:
        return stream
    if count * bits % BYTE_BITS and stream[-1] >> (count * bits % BYTE_BITS):
        raise WireFault(
            "The padding after the last code is not zero.",
            expected="A packed stream ends in zero bits.",
            remedy="Pack the codes as the codec table says.",
        )
    dense = np.zeros((-(-count // GROUP), bits), np.uint8)
    dense.reshape(-1)[: stream.size] = stream
    words = np.zeros((len(dense), WORD_BYTES), np.uint8)
    words[:, :bits] = dense
    lanes = words.reshape(-1).view("<u8").astype(np.uint64, copy=False)
    codes = np.empty((len(lanes), GROUP), np.uint8)
    for place in range(GROUP):
        codes[:, place] = (lanes >> np.uint64(place * bits)) & np.uint64(2**bits - 1)
    return codes.reshape(-1)[:count]


def _table() -> dict[str, Codec]:
    plain = [Codec("raw32", 32, "", False), Codec("raw16", 16, "", False)]
    plain += [Codec(f"aq{b}{per}", b, per, False) for b in AFFINE_BITS for per in "tc"]
    squeezed = [Codec(c.id + DEFLATE, c.bits, c.per, True) for c in plain]
    return {c.id: c for c in (*plain, *squeezed)}


_CODECS = _table()
CODEC_IDS = tuple(_CODECS)


def codec(id: str) -> Codec:  # noqa: A002  # the table's word
    """Look a codec up; `UnknownName` lists what exists."""
    if id not in _CODECS:
        raise UnknownName("codec", id, _CODECS)
    return _CODECS[id]
