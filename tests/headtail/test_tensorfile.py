"""Our safetensors reader and writer against the literal bytes and against the reference package."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import SafetensorError
from safetensors.numpy import load as reference_load
from safetensors.numpy import save as reference_save

from headtail.errors import HeadtailError, IntegrityFault, SchemaFault, TooLarge, UnknownName
from headtail.tensorfile import MAX_HEADER_BYTES, dump, parse, read_tensors, write_tensors
from headtail.tensors import DTYPES, Array

TENSORS: dict[str, Array] = {
    "b": np.arange(3, dtype=np.uint8),
    "a": np.array([1.5], np.float32),
    "z": np.array([7], np.int64),
}
BYTES = (
    b"\xa8\x00\x00\x00\x00\x00\x00\x00"
    b'{"z":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},'
    b'"a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},'
    b'"b":{"dtype":"U8","shape":[3],"data_offsets":[12,15]}}      '
    b"\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\xc0\x3f\x00\x01\x02"
)
dtypes = st.sampled_from([name for name, _ in DTYPES.values()])
arrays = dtypes.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, min_side=0)))
tensor_maps = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), arrays, max_size=5)


def file_of(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype="U8", shape=(3,), begin=0, end=3):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_exact_bytes():
    assert dump(TENSORS) == BYTES
    assert dump(dict(reversed(list(TENSORS.items())))) == BYTES
    assert reference_save(TENSORS) == BYTES


def test_metadata_is_first_and_sorted():
    data = dump({}, metadata={"k": "v", "a": "b"})
    assert data == b'\x28\x00\x00\x00\x00\x00\x00\x00{"__metadata__":{"a":"b","k":"v"}}      '
    assert parse(data).metadata == {"a": "b", "k": "v"}


@settings(deadline=None, max_examples=150)
@given(tensor_maps)
def test_round_trip_through_us_and_the_reference(tensors):
    tensors.pop("__metadata__", None)
    ours = dump(tensors)
    for back in (parse(ours).tensors, reference_load(ours), parse(reference_save(tensors)).tensors):
        assert back.keys() == tensors.keys()
        for name, array in tensors.items():
            assert back[name].dtype == array.dtype
            np.testing.assert_array_equal(back[name], array)


def test_reading_a_file_gives_read_only_aligned_views(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS)
    assert path.read_bytes() == BYTES
    back = read_tensors(path)
    assert not back["a"].flags.writeable
    assert not back["a"].flags.owndata
    assert back["z"].flags.aligned


def test_big_endian_and_strided_arrays_are_written_right():
    grid = np.arange(6, dtype=">f4").reshape(2, 3).T
    back = parse(dump({"g": grid})).tensors["g"]
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, grid)


def test_nothing_is_written_when_a_tensor_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    with pytest.raises(UnknownName, match="complex64"):
        write_tensors(path, {"a": TENSORS["a"], "c": np.zeros(1, np.complex64)})
    with pytest.raises(SchemaFault, match="no tensor name"):
        write_tensors(path, {"__metadata__": TENSORS["a"]})
    assert not path.exists()


MALFORMED = {
    "empty": (b"", IntegrityFault),
    "short length": (b"\x01\x00", IntegrityFault),
    "header beyond the end": ((100).to_bytes(8, "little") + b"{}", IntegrityFault),
    "header of 2^63 bytes": ((1 << 63).to_bytes(8, "little") + b"{}", TooLarge),
    "header just over the limit": ((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), TooLarge),
    "not JSON": (file_of(b"{]"), SchemaFault),
    "not UTF-8": (file_of(b'{"\xff": 1}'), SchemaFault),
    "not an object": (file_of(b"[]"), SchemaFault),
    "deep nesting": (file_of(b"[" * 100_000 + b"]" * 100_000), SchemaFault),
    "NaN": (file_of(b'{"a": NaN}'), SchemaFault),
    "duplicate key": (
        file_of(b'{"a":{"dtype":"U8","dtype":"U8","shape":[3],"data_offsets":[0,3]}}', b"abc"),
        SchemaFault,
    ),
    "unknown key": (file_of({"a": entry() | {"more": 1}}, b"abc"), SchemaFault),
    "missing key": (file_of({"a": {"dtype": "U8", "shape": [3]}}, b"abc"), SchemaFault),
    "entry is a list": (file_of({"a": [1]}), SchemaFault),
    "unknown dtype": (file_of({"a": entry("BF16", end=6)}, b"abcdef"), UnknownName),
    "dtype is a list": (file_of({"a": entry([])}, b"abc"), UnknownName),
    "negative size": (file_of({"a": entry(shape=[-3])}, b"abc"), SchemaFault),
    "boolean size": (file_of({"a": entry(shape=[True], end=1)}, b"a"), SchemaFault),
    "float size": (file_of({"a": entry(shape=[3.0])}, b"abc"), SchemaFault),
    "rank 17": (file_of({"a": entry(shape=[1] * 17, end=1)}, b"a"), SchemaFault),
    "overflowing empty shape": (file_of({"a": entry(shape=[0, 1 << 63], end=0)}), SchemaFault),
    "negative offset": (file_of({"a": entry(begin=-3, end=0)}, b"abc"), SchemaFault),
    "three offsets": (file_of({"a": entry() | {"data_offsets": [0, 1, 3]}}, b"abc"), SchemaFault),
    "end before begin": (file_of({"a": entry(begin=3, end=0)}, b"abc"), IntegrityFault),
    "body too short": (file_of({"a": entry()}, b"ab"), IntegrityFault),
    "declared petabyte": (
        file_of({"a": entry(shape=[1 << 50], end=1 << 50)}, b"abc"),
        IntegrityFault,
    ),
    "shape does not fill its bytes": (file_of({"a": entry(shape=[2])}, b"abc"), IntegrityFault),
    "hole": (file_of({"a": entry(), "b": entry(begin=4, end=7)}, b"abcdefg"), IntegrityFault),
    "hole in front": (file_of({"a": entry(begin=1, end=4)}, b"abcd"), IntegrityFault),
    "overlap": (file_of({"a": entry(), "b": entry(begin=2, end=5)}, b"abcde"), IntegrityFault),
    "same bytes twice": (file_of({"a": entry(), "b": entry()}, b"abc"), IntegrityFault),
    "bytes nobody covers": (file_of({"a": entry()}, b"abcd"), IntegrityFault),
    "metadata not text": (file_of({"__metadata__": {"a": 1}}), SchemaFault),
    "bool of 2": (file_of({"a": entry("BOOL")}, b"\0\1\2"), IntegrityFault),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_refused_without_allocating_what_they_declare(case):
    data, error = MALFORMED[case]
    tracemalloc.start()
    try:
        with pytest.raises(error):
            parse(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_the_sentence_names_the_file_and_the_tensor():
    with pytest.raises(IntegrityFault) as caught:
        parse(MALFORMED["hole"][0], file="golden.safetensors")
    assert caught.value.what == "golden.safetensors: b:u8[3] lies at [4, 7)."
    assert caught.value.expected == "3 bytes from 3 on, within 7 of data."
    assert caught.value.file == "golden.safetensors"


def test_empty_tensors_may_share_an_offset():
    data = file_of({n: entry(shape=[0], end=0) for n in "ab"})
    assert parse(data).tensors.keys() == {"a", "b"}


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(BYTES) - 1), st.integers(1, 255))
def test_whatever_we_read_the_reference_reads_alike(position, flip):
    data = bytearray(BYTES)
    data[position] ^= flip
    try:
        ours = parse(bytes(data)).tensors
    except HeadtailError:
        return  # refused cleanly; the reference may be more lenient
    try:
        theirs = reference_load(bytes(data))
    except (SafetensorError, KeyError) as error:
        pytest.fail(f"we accept what the reference refuses: {error}")
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
