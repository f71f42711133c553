"""Codecs: literal bytes, error bounds, and payloads that lie."""

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headtail.errors import TensorMismatch, UnknownName, UsageFault, WireFault
from headtail.manifest import QuantTable
from headtail.tensors import TensorSpec
from headtail.wire.codecs import AFFINE_BITS, CODEC_IDS, codec, pack, unpack

AFFINE_IDS = [codec_id for codec_id in CODEC_IDS if codec(codec_id).per]
bounded = st.floats(-1e4, 1e4, width=32)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
bits = st.sampled_from(AFFINE_BITS)


def floats(*values):
    return np.array(values, np.float32)


def spec_of(array, name="t"):
    return TensorSpec.of(name, array)


def tables(array, per):
    """The exact ranges of an array, as calibration would find them."""
    axes = tuple(axis for axis in range(array.ndim) if axis != 1) if per == "c" else None
    low, high = np.atleast_1d(array.min(axis=axes)), np.atleast_1d(array.max(axis=axes))
    return QuantTable(tuple(map(float, low)), tuple(map(float, high)))


def activations(seed=0):
    """Like a rectified mobile layer: half zeros, the rest with a long tail, scaled by channel."""
    rng = np.random.default_rng(seed)
    scale = rng.lognormal(sigma=0.5, size=(1, 40, 1, 1))
    return np.maximum(rng.normal(size=(1, 40, 28, 28)) * scale, 0).astype(np.float32)


def test_the_table_of_ids():
    affine = [f"aq{b}{per}" for b in (2, 3, 4, 5, 6, 8) for per in "tc"]
    plain = ["raw32", "raw16", *affine]
    assert list(CODEC_IDS) == plain + [f"{codec_id}+deflate" for codec_id in plain]


def test_unknown_id_lists_what_exists():
    with pytest.raises(UnknownName, match=r"Unknown codec 'aq7t'.*Known: aq2c.*Did you mean 'aq"):
        codec("aq7t")


@pytest.mark.parametrize(
    ("width", "codes", "packed"),
    [
        (2, [1, 2, 3, 0, 3], "39 03"),
        (3, [1, 2, 3, 4, 5, 6, 7, 0], "d1 58 1f"),
        (4, [1, 2, 15], "21 0f"),
        (5, [1, 2, 31], "41 7c"),
        (6, [1, 2, 63], "81 f0 03"),
        (8, [1, 2, 255], "01 02 ff"),
    ],
)
def test_exact_packing(width, codes, packed):
    array = np.array(codes, np.uint8)
    assert pack(array, width).hex(" ") == packed
    assert unpack(bytes.fromhex(packed), width, len(codes)).tolist() == codes


@given(bits.flatmap(lambda b: st.tuples(st.just(b), st.lists(st.integers(0, 2**b - 1)))))
@settings(deadline=None)
def test_packing_round_trip(case):
    width, codes = case
    packed = pack(np.array(codes, np.uint8), width)
    assert len(packed) == (len(codes) * width + 7) // 8
    assert unpack(packed, width, len(codes)).tolist() == codes


def test_exact_bytes():
    array, table = floats(0.0, 1.0, 2.0, 15.0), QuantTable((0.0,), (15.0,))
    assert codec("raw32").encode(array[1:3], None).hex(" ") == "00 00 80 3f 00 00 00 40"
    assert codec("raw16").encode(array[1:3], None).hex(" ") == "00 3c 00 40"
    assert codec("aq4t").encode(array, table).hex(" ") == "10 f2"
    assert codec("aq8t").encode(array, table).hex(" ") == "00 11 22 ff"
    squeezed = codec("aq4t+deflate").encode(array, table)
    assert zlib.decompress(squeezed, wbits=-15).hex(" ") == "10 f2"


def test_a_range_per_channel_is_along_axis_1():
    array = floats(0.0, 3.0, 10.0, 40.0).reshape(1, 2, 2)
    table = QuantTable((0.0, 10.0), (3.0, 40.0))
    payload = codec("aq2c").encode(array, table)
    assert payload.hex() == "cc"  # codes 0 3 0 3
    assert codec("aq2c").decode(payload, spec_of(array), table).tolist() == array.tolist()


@pytest.mark.parametrize("codec_id", AFFINE_IDS)
@given(array=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4), elements=bounded))
@settings(deadline=None, max_examples=15)
def test_affine_error_is_bounded_inside_the_range(codec_id, array):
    chosen = codec(codec_id)
    table = tables(array, chosen.per)
    restored = chosen.decode(chosen.encode(array, table), spec_of(array), table)
    assert restored.dtype == np.float32
    assert restored.shape == array.shape
    error = np.abs(restored.astype(np.float64) - array).max()
    assert error <= chosen.error_bound(table)
    widest = max(high - low for low, high in zip(table.low, table.high, strict=True))
    half_step = widest / (2**chosen.bits - 1) / 2
    # nothing but float32's rounding and underflow come on top
    rounding = float(np.abs(array).max()) * 2.0**-19 + 2.0**-139
    assert chosen.error_bound(table) <= half_step * 1.001 + rounding


@given(
    array=hnp.arrays(
        np.float32,
        hnp.array_shapes(),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
@settings(deadline=None)
def test_raw32_is_exact(array):
    for codec_id in ("raw32", "raw32+deflate"):
        restored = codec(codec_id).decode(codec(codec_id).encode(array, None), spec_of(array), None)
        assert restored.tobytes() == array.tobytes()
    assert codec("raw32").error_bound(None) == 0


@given(array=hnp.arrays(np.float32, 9, elements=st.floats(-65504, 65504, width=32)))
@settings(deadline=None)
def test_raw16_error(array):
    restored = codec("raw16").decode(codec("raw16").encode(array, None), spec_of(array), None)
    allowed = np.maximum(np.abs(array.astype(np.float64)) * 2.0**-11, 2.0**-25)
    assert (np.abs(restored.astype(np.float64) - array) <= allowed).all()


def test_raw16_refuses_what_it_cannot_hold():
    with pytest.raises(TensorMismatch, match=r"holds 70000\..*up to 65504.*raw32"):
        codec("raw16").encode(floats(1.0, 70000.0), None)


def test_values_outside_the_range_saturate():
    table = QuantTable((-1.0,), (2.0,))
    array = floats(-3e38, -1.5, 2.5, 3e38)
    restored = codec("aq8t").decode(codec("aq8t").encode(array, table), spec_of(array), table)
    assert restored.tolist() == pytest.approx([-1, -1, 2, 2])


@pytest.mark.parametrize("codec_id", ["aq2t", "aq3t", "aq8t"])
@pytest.mark.parametrize("width", [2.0**-149, 2.0**-147, 2.0**-142, 2.0**-126])
def test_ranges_whose_step_underflows(codec_id, width):
    table = QuantTable((0.0,), (width,))
    array = np.linspace(0, width, 9).astype(np.float32)
    payload = codec(codec_id).encode(array, table)
    restored = codec(codec_id).decode(payload, spec_of(array), table)
    error = np.abs(restored.astype(np.float64) - array).max()
    assert error <= codec(codec_id).error_bound(table)


def test_a_constant_tensor():
    table = QuantTable((5.0,), (5.0,))
    array = np.full((1, 2, 3), 5, np.float32)
    for codec_id in ("aq2t", "aq8t+deflate"):
        restored = codec(codec_id).decode(
            codec(codec_id).encode(array, table), spec_of(array), table
        )
        assert (restored == 5).all()


@pytest.mark.parametrize("codec_id", CODEC_IDS)
def test_an_empty_tensor(codec_id):
    array = np.zeros((1, 1, 0), np.float32)
    table = QuantTable((0.0,), (1.0,))
    restored = codec(codec_id).decode(codec(codec_id).encode(array, table), spec_of(array), table)
    assert restored.shape == (1, 1, 0)


def test_aq8t_deflate_is_at_least_4x_smaller_than_float32():
    array = activations()
    table = tables(array, "t")
    assert len(codec("aq8t+deflate").encode(array, table)) * 4 <= array.nbytes
    assert len(codec("aq8t").encode(array, table)) * 4 == array.nbytes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec_id", ["raw32", "raw16", "aq8t"])
def test_values_that_are_not_finite(codec_id, value):
    with pytest.raises(TensorMismatch, match=r"finite: False.*finite float32"):
        codec(codec_id).encode(floats(0.0, value), QuantTable((0.0,), (1.0,)))


@pytest.mark.parametrize(("codec_id", "payload"), [("raw32", "0000807f"), ("raw16", "007e")])
def test_a_payload_that_is_not_finite(codec_id, payload):
    with pytest.raises(WireFault, match=r"not finite"):
        codec(codec_id).decode(bytes.fromhex(payload), TensorSpec("t", "f32", (1,)), None)


def test_another_dtype():
    with pytest.raises(TensorMismatch, match=r"is float64\[2\]"):
        codec("raw32").encode(np.zeros(2), None)


def test_an_affine_codec_needs_a_table():
    with pytest.raises(UsageFault, match=r"aq4t was used without a table"):
        codec("aq4t").encode(floats(1.0), None)


@pytest.mark.parametrize("codec_id", ["aq4t", "aq4c"])
def test_a_table_of_another_tensor(codec_id):
    table = QuantTable((0.0,) * 3, (1.0,) * 3)
    with pytest.raises(TensorMismatch, match=r"has 3 ranges"):
        codec(codec_id).encode(np.zeros((1, 2, 2), np.float32), table)


@pytest.mark.parametrize(
    "table",
    [
        QuantTable((1.0,), (0.0,)),
        QuantTable((-3e38,), (3e38,)),
        QuantTable((0.0,), (1e300,)),
        QuantTable((float("nan"),), (1.0,)),
        QuantTable((0.0,), (1.0, 2.0)),
    ],
)
def test_ranges_that_are_none(table):
    with pytest.raises(UsageFault, match=r"low <= high and a finite width"):
        codec("aq8t").encode(floats(0.5), table)


@pytest.mark.parametrize("codec_id", ["raw32", "raw16", "aq3t", "aq8c"])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_payload_of_another_length(codec_id, change):
    spec, table = TensorSpec("t", "f32", (1, 1, 8)), QuantTable((0.0,), (1.0,))
    size = codec(codec_id).packed_bytes(spec)
    with pytest.raises(WireFault, match=rf"came as {size + change} bytes.*takes {size}\."):
        codec(codec_id).decode(bytes(size + change), spec, table)


def test_padding_bits_must_be_zero():
    spec, table = TensorSpec("t", "f32", (3,)), QuantTable((0.0,), (1.0,))
    with pytest.raises(WireFault, match=r"padding"):
        codec("aq2t").decode(b"\x40", spec, table)


def squeezed(data, **options):
    machine = zlib.compressobj(wbits=-15, **options)
    return machine.compress(data) + machine.flush()


SPEC = TensorSpec("t", "f32", (1, 100))
TABLE = QuantTable((0.0,), (1.0,))


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (squeezed(bytes(100))[:-1], "holds other than"),
        (squeezed(bytes(100)) + b"x", "holds other than"),
        (squeezed(bytes(101)), "holds more than"),
        (squeezed(bytes(99)), "came as 99 bytes"),
        (b"", "holds other than"),
        (zlib.compress(bytes(100)), "not deflate data"),
        (b"\xff" * 40, "not deflate data"),
    ],
)
def test_deflate_payloads_that_lie(payload, words):
    with pytest.raises(WireFault, match=words):
        codec("aq8t+deflate").decode(payload, SPEC, TABLE)


def test_attack_deflate_bomb():
    bomb = squeezed(bytes(64 << 20))
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(WireFault, match="holds more than"):
            codec("aq8t+deflate").decode(bomb, SPEC, TABLE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@given(payload=st.binary(max_size=200), codec_id=st.sampled_from(CODEC_IDS))
@settings(deadline=None, max_examples=300)
def test_any_payload_is_a_tensor_or_a_wire_fault(payload, codec_id):
    try:
        array = codec(codec_id).decode(
            payload,
            SPEC,
            QuantTable((0.0,) * 100, (1.0,) * 100) if codec(codec_id).per == "c" else TABLE,
        )
    except WireFault:
        return
    assert array.shape == SPEC.shape
    assert np.isfinite(array).all()
