"""The boundary frame: literal bytes, round trips, and every way to damage one."""

import dataclasses
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import TensorMismatch, TooLarge, UnknownName, WireFault
from headtail.manifest import Cut, QuantTable
from headtail.tensors import TensorSpec
from headtail.wire.boundary import MAX_FRAME_BYTES, codec_of, decode_boundary, encode_boundary
from headtail.wire.codecs import CODEC_IDS, codec

REFUSALS = (WireFault, UnknownName)  # TensorMismatch and TooLarge are WireFaults


def cut_of(*shapes, cut_id="c"):
    return Cut(
        id=cut_id,
        node="n",
        tensors=tuple(TensorSpec(f"t{i}", "f32", shape) for i, shape in enumerate(shapes)),
        per_tensor=tuple(QuantTable((-4.0,), (4.0,)) for _ in shapes),
        per_channel=tuple(QuantTable((-4.0,) * s[1], (4.0,) * s[1]) for s in shapes),
        wire_bytes={},
        head_flops=0.5,
        materialised=True,
        fidelity={},
    )


ONE = cut_of((1, 2))
PAIR = cut_of((1, 4, 3, 3), (1, 2, 1, 1))
BYTES = bytes.fromhex(
    "48544231 989998f9 05 01"  # HTB1, CRC-32, five letters, one tensor
    "7261773332"  # raw32
    "02 01000000 02000000 08000000"  # rank, sizes, payload length
    "0000803f 000000c0"
)


def pair(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=spec.shape).astype(np.float32) for spec in PAIR.tensors]


def frame_of(codec_id, headers, payloads, *, count=None):
    """A frame with a right checksum, whatever is in it. `headers`: (rank, sizes, length)."""
    name = codec_id.encode("latin-1")
    body = bytes([len(name), len(headers) if count is None else count]) + name
    for rank, sizes, length in headers:
        body += struct.pack(f"<B{len(sizes)}II", rank, *sizes, length)
    body += payloads
    return b"HTB1" + struct.pack("<I", zlib.crc32(body)) + body


def test_exact_bytes():
    array = np.array([[1, -2]], np.float32)
    assert encode_boundary([array], ONE, "raw32") == BYTES
    assert decode_boundary(BYTES, ONE)[0].tolist() == [[1, -2]]
    assert codec_of(BYTES) == "raw32"
    assert frame_of("raw32", [(2, (1, 2), 8)], BYTES[-8:]) == BYTES


@pytest.mark.parametrize("codec_id", CODEC_IDS)
def test_round_trip_of_two_tensors(codec_id):
    arrays = pair()
    blob = encode_boundary(arrays, PAIR, codec_id)
    assert codec_of(blob) == codec_id
    restored = decode_boundary(blob, PAIR)
    bounds = [codec(codec_id).error_bound(table) for table in PAIR.per_tensor]
    for array, back, bound in zip(arrays, restored, bounds, strict=True):
        assert back.dtype == np.float32
        # raw16 has a relative bound, and the values are below 4
        allowed = 4 * 2.0**-11 if codec_id.startswith("raw16") else bound
        assert np.abs(back - array).max() <= allowed


@pytest.mark.parametrize("codec_id", ["raw32", "aq3t", "aq8t+deflate", "aq5c+deflate"])
def test_every_truncation_is_refused(codec_id):
    blob = encode_boundary(pair(), PAIR, codec_id)
    for length in range(len(blob)):
        with pytest.raises(REFUSALS):
            decode_boundary(blob[:length], PAIR)


@pytest.mark.parametrize("codec_id", ["raw32", "aq3t", "aq8t+deflate"])
def test_every_changed_byte_is_refused(codec_id):
    blob = encode_boundary(pair(), PAIR, codec_id)
    for place in range(len(blob)):
        for change in (0x01, 0x10, 0x80, 0xFF):
            damaged = bytearray(blob)
            damaged[place] ^= change
            with pytest.raises(REFUSALS):
                decode_boundary(bytes(damaged), PAIR)
            with pytest.raises(REFUSALS):
                codec_of(bytes(damaged))


def test_bytes_behind_the_frame_are_refused():
    with pytest.raises(WireFault, match="checksum"):
        decode_boundary(BYTES + b"\0", ONE)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (frame_of("raw32", [(2, (1, 2), 8)], bytes(8))[:9], "it has 9 bytes"),
        (b"HTB2" + BYTES[4:], "begins with b'HTB2'"),
        (frame_of("raw32", [(2, (1, 2), 4)], bytes(8)), "payloads take 4 of 8"),
        (frame_of("raw32", [(2, (1, 2), 0xFFFFFFFF)], bytes(8)), "payloads take 4294967295 of 8"),
        (frame_of("raw32", [], b"", count=1), "ends inside a tensor's header"),
        (frame_of("raw32", [], b"\x02\1\0\0\0", count=1), "ends inside a tensor's header"),
        (frame_of("r\xe9w", [(2, (1, 2), 8)], bytes(8)), "not ASCII"),
    ],
)
def test_attack_malformed(frame, words):
    with pytest.raises(WireFault, match=words):
        decode_boundary(frame, ONE)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (frame_of("raw32", [(2, (2, 1), 8)], bytes(8)), r"shape \[2, 1\]"),
        (frame_of("raw32", [(1, (2,), 8)], bytes(8)), r"shape \[2\]"),
        (frame_of("raw32", [(0, (), 8)], bytes(8)), r"shape \[\]"),
        (frame_of("raw32", [(2, (0xFFFFFFFF, 0xFFFFFFFF), 8)], bytes(8)), r"shape \[4294967295"),
        (frame_of("raw32", [(255, (1,) * 255, 8)], bytes(8)), r"shape \[1, 1"),
        (frame_of("raw32", [], b""), "holds 0 tensors"),
        (frame_of("raw32", [(2, (1, 2), 4)] * 2, bytes(8)), "holds 2 tensors"),
    ],
)
def test_attack_other_tensors(frame, words):
    with pytest.raises(TensorMismatch, match=words):
        decode_boundary(frame, ONE)


@pytest.mark.parametrize("codec_id", ["", "aq9t", "raw32\0", "x" * 255])
def test_attack_unknown_codec(codec_id):
    with pytest.raises(UnknownName, match=r"Unknown codec .*raw32"):
        decode_boundary(frame_of(codec_id, [(2, (1, 2), 8)], bytes(8)), ONE)


def test_attack_too_large():
    with pytest.raises(TooLarge, match=rf"has {MAX_FRAME_BYTES + 1} bytes"):
        decode_boundary(bytes(MAX_FRAME_BYTES + 1), ONE)


def test_attack_deflate_bomb():
    machine = zlib.compressobj(wbits=-15)
    bomb = machine.compress(bytes(32 << 20)) + machine.flush()
    frame = frame_of("aq8t+deflate", [(2, (1, 2), len(bomb))], bomb)
    tracemalloc.start()
    try:
        with pytest.raises(WireFault, match="holds more than"):
            decode_boundary(frame, ONE)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@given(body=st.binary(max_size=80))
@settings(deadline=None, max_examples=300)
def test_any_bytes_behind_a_right_checksum(body):
    frame = b"HTB1" + struct.pack("<I", zlib.crc32(body)) + body
    with pytest.raises(REFUSALS):  # hypothesis does not find `raw32` and its header by chance
        decode_boundary(frame, ONE)


@given(data=st.data(), codec_id=st.sampled_from(CODEC_IDS))
@settings(deadline=None, max_examples=200)
def test_damage_behind_a_right_checksum_is_refused_or_decoded(data, codec_id):
    body = bytearray(encode_boundary(pair(), PAIR, codec_id)[8:])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    frame = b"HTB1" + struct.pack("<I", zlib.crc32(body)) + bytes(body)
    try:
        restored = decode_boundary(frame, PAIR)
    except REFUSALS:
        return
    assert [array.shape for array in restored] == [spec.shape for spec in PAIR.tensors]
    assert all(np.isfinite(array).all() for array in restored)


def test_arrays_of_another_cut():
    with pytest.raises(TensorMismatch, match="2 tensors were given"):
        encode_boundary(pair(), ONE, "raw32")
    with pytest.raises(TensorMismatch, match=r"float32\[2, 1\]"):
        encode_boundary([np.zeros((2, 1), np.float32)], ONE, "raw32")


@pytest.mark.parametrize("codec_id", ["aq8t", "aq8c+deflate"])
def test_a_cut_that_was_not_calibrated(codec_id):
    bare = dataclasses.replace(PAIR, per_tensor=(), per_channel=())
    for action in (
        lambda: encode_boundary(pair(), bare, codec_id),
        lambda: decode_boundary(encode_boundary(pair(), PAIR, codec_id), bare),
    ):
        with pytest.raises(TensorMismatch, match=r"0 ranges for aq8.*Use raw32 or raw16"):
            action()
    assert len(encode_boundary(pair(), bare, "raw32")) > 0
