"""TFLite metadata: read back with the schema's generated reader; the model stays as it was."""

from __future__ import annotations

import io
import zipfile

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from exporters.metadata import Metadata
from exporters.metadata.litert import embed
from headtail.errors import ConversionFailed


def model() -> bytes:
    made = schema.ModelT()
    made.version = 3
    made.description = "a net"
    made.buffers = [schema.BufferT(), schema.BufferT()]
    made.buffers[1].data = list(range(64))
    builder = flatbuffers.Builder(256)
    builder.Finish(made.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def read(content: bytes) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def test_the_model_stays_and_the_metadata_is_found() -> None:
    content = embed(model(), Metadata("net", author="someone", labels=("cat", "dog")))
    after = read(content)
    assert (after.version, after.description) == (3, b"a net")
    assert bytes(bytearray(after.buffers[1].data)) == bytes(range(64))
    assert [entry.name for entry in after.metadata] == [b"TFLITE_METADATA"]
    packed = bytes(bytearray(after.buffers[after.metadata[0].buffer].data))
    assert packed[4:8] == b"M001"
    assert b"someone" in packed
    assert zipfile.ZipFile(io.BytesIO(content)).read("labels.txt") == b"cat\ndog\n"


def test_weights_behind_the_flatbuffer_are_found_where_they_are_then() -> None:
    """Small quantized files and files over 2 GB keep them there, at an offset into the file."""
    made = schema.ModelT()
    made.version, made.buffers = 3, [schema.BufferT(), schema.BufferT()]
    made.buffers[1].offset = made.buffers[1].size = 1
    builder = flatbuffers.Builder(256)
    builder.Finish(made.Pack(builder), file_identifier=b"TFL3")
    packed = builder.Output()
    packed += bytes(-len(packed) % 16)
    root = schema.Model.GetRootAs(packed, 0)
    flatbuffer_utils.update_packed_buffer(root.Buffers(1), offset=len(packed), size=64)
    content = embed(bytes(packed) + bytes(range(64)), Metadata("net"))
    found = read(content).buffers[1]
    assert found.offset % 16 == 0
    assert content[found.offset : found.offset + found.size] == bytes(range(64))


def test_the_same_metadata_gives_the_same_bytes() -> None:
    described = Metadata("net", user={"b.c": "2", "a.b": "1"})
    assert embed(model(), described) == embed(model(), described)


def test_another_file_is_refused() -> None:
    with pytest.raises(ConversionFailed, match="TFL3"):
        embed(b"PK\3\4 no model", Metadata("net"))
