"""TFLite metadata: a flatbuffer in the buffer TFLITE_METADATA, the labels in a zip after the model.

https://ai.google.dev/edge/litert/models/metadata. The new buffer goes in front of the old content,
which only moves: every other byte of the file stays as the converter or the quantizer wrote it.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

import flatbuffers

from exporters.metadata import Metadata
from headtail.errors import ConversionFailed
from headtail.preprocess import Preprocess

__all__ = ["LABELS", "embed"]

LABELS = "labels.txt"
_BUFFER = b"TFLITE_METADATA"
_IMAGE, _NORMALIZATION, _RGB, _AXIS_LABELS = 2, 1, 1, 2  # values of the schema's enums
_MODEL_FIELDS, _BUFFERS, _METADATA = 8, 4, 6
_HEADER = 8  # root offset and file identifier


def embed(
    model: bytes,
    metadata: Metadata,
    *,
    images: Mapping[str, Preprocess] | None = None,
    classes: str | None = None,
) -> bytes:
    """`model` with `metadata`. `images` says how each image input is made, by tensor name.

    `classes` names the output whose last axis `metadata.labels` label. An earlier TFLITE_METADATA
    is replaced. Errors: ConversionFailed when the file is no TFLite flatbuffer.
    """
    if model[4:_HEADER] != b"TFL3":
        raise ConversionFailed(
            f"The file begins with {model[:_HEADER]!r}.",
            expected="A TFLite model has TFL3 at byte 4.",
            remedy="Convert the model again.",
        )
    described = _inserted(model, _flatbuffer(metadata, images or {}, classes))
    if not metadata.labels:
        return described
    return described + _archive(metadata.labels)


def _archive(labels: tuple[str, ...]) -> bytes:
    """A stored zip with the label file; the time is fixed, so the same model has the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS), "\n".join(labels) + "\n")
    return packed.getvalue()


class _Tables:
    """A flatbuffer written table by table; a field is (slot, kind, value), None leaves it out."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def text(self, value: str) -> int | None:
        return int(self.builder.CreateString(value)) if value else None

    def vector(self, offsets: list[int]) -> int | None:
        if not offsets:
            return None
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def floats(self, values: tuple[float, ...]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        return int(self.builder.EndVector())

    def table(self, slots: Mapping[int, int | None], codes: Mapping[int, int] | None = None) -> int:
        """A table with offsets in `slots` and one-byte enum values in `codes`."""
        codes = codes or {}
        self.builder.StartObject(max([*slots, *codes]) + 1)
        for slot, offset in slots.items():
            if offset is not None:
                self.builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, code in codes.items():
            self.builder.PrependInt8Slot(slot, code, 0)
        return int(self.builder.EndObject())


def _flatbuffer(metadata: Metadata, images: Mapping[str, Preprocess], classes: str | None) -> bytes:
    """ModelMetadata of tensorflow_lite_support's metadata_schema.fbs, identifier M001."""
    tables = _Tables()
    inputs = [
        _tensor(tables, name, text, image=images.get(name))
        for name, text in metadata.inputs.items()
    ]
    outputs = [
        _tensor(tables, name, text, labelled=bool(metadata.labels) and name == classes)
        for name, text in metadata.outputs.items()
    ]
    subgraph = tables.table({2: tables.vector(inputs), 3: tables.vector(outputs)})
    user = "".join(f"\n{key}: {value}" for key, value in sorted(metadata.user.items()))
    model = tables.table(
        {
            0: tables.text(metadata.name),
            1: tables.text((metadata.description + user).strip()),
            2: tables.text(metadata.version),
            3: tables.vector([subgraph]),
            4: tables.text(metadata.author),
            5: tables.text(metadata.licence),
            7: tables.text("1.0.0"),
        }
    )
    tables.builder.Finish(model, file_identifier=b"M001")
    return bytes(tables.builder.Output())


def _tensor(
    tables: _Tables,
    name: str,
    text: str,
    *,
    image: Preprocess | None = None,
    labelled: bool = False,
) -> int:
    content = units = files = None
    if image is not None:
        properties = tables.table({}, {0: _RGB})
        content = tables.table({1: properties}, {0: _IMAGE})
        # ours: (byte * scale - mean) / std; the schema's: (byte - mean) / std
        mean = tables.floats(tuple(value / image.scale for value in image.mean))
        deviation = tables.floats(tuple(value / image.scale for value in image.std))
        options = tables.table({0: mean, 1: deviation})
        units = tables.vector([tables.table({1: options}, {0: _NORMALIZATION})])
    if labelled:
        files = tables.vector([tables.table({0: tables.text(LABELS)}, {2: _AXIS_LABELS})])
    slots = {0: tables.text(name), 1: tables.text(text), 3: content, 4: units, 6: files}
    return tables.table(slots)


def _inserted(model: bytes, content: bytes) -> bytes:
    """`model` with a new root in front that has one buffer and one metadata entry more."""
    root = _u32(model, 0)
    fields = [_field(model, root, index) for index in range(_MODEL_FIELDS)]
    buffers = _elements(model, fields[_BUFFERS])
    entries = [e for e in _elements(model, fields[_METADATA]) if _name(model, e) != _BUFFER]
    known = (buffers, entries)
    # its size does not depend on the shift, which must only be large enough to point forward
    enough = len(model) + len(content) + 4096
    size = len(_block(model, fields, known, content, enough))
    block = _block(model, fields, known, content, size)
    header = struct.pack("<I", _HEADER + 20) + b"TFL3"
    return header + block + _moved(model, buffers, size)[_HEADER:]


def _moved(model: bytes, buffers: list[int], shift: int) -> bytes:
    """`model` with weights that lie behind the flatbuffer expected `shift` bytes later."""
    moved = bytearray(model)
    for table in buffers:
        at = _field(model, table, 1)
        if at and (offset := int(struct.unpack_from("<Q", model, at)[0])) > 1:  # 1: a placeholder
            struct.pack_into("<Q", moved, at, offset + shift)
    return bytes(moved)


def _block(
    model: bytes,
    fields: list[int],
    known: tuple[list[int], list[int]],
    content: bytes,
    shift: int,
) -> bytes:
    """The bytes after the header: Model table, both vectors, Metadata and Buffer.

    Offsets point forward, to tables of `model` that begin `shift` bytes later than they did.
    """
    buffers, entries = known
    vectors = _HEADER + 20 + 4 + 4 * _MODEL_FIELDS
    entries_at = vectors + 4 * (len(buffers) + 2)
    entry = entries_at + 4 * (len(entries) + 2)
    entry_table, name, buffer = entry + 8, entry + 20, entry + 40
    data = -(-(buffer + 20) // 16) * 16 - 4  # content begins at a multiple of 16
    places = {_BUFFERS: vectors, _METADATA: entries_at}
    out = bytearray(struct.pack("<2H", 4 + 2 * _MODEL_FIELDS, 4 + 4 * _MODEL_FIELDS))
    present = [bool(at) or index in places for index, at in enumerate(fields)]
    out += struct.pack("<8H", *[4 + 4 * i if there else 0 for i, there in enumerate(present)])
    out += struct.pack("<i", 20)
    for index, at in enumerate(fields):
        here = _HEADER + len(out)
        if index == 0:
            out += struct.pack("<I", _u32(model, at) if at else 0)
        else:
            old = at + _u32(model, at) + shift if at else here
            out += struct.pack("<I", places.get(index, old) - here)
    for old_tables, new in ((buffers, buffer + 8), (entries, entry_table)):
        out += struct.pack("<I", len(old_tables) + 1)
        for target in [*[table + shift for table in old_tables], new]:
            out += struct.pack("<I", target - (_HEADER + len(out)))
    out += struct.pack("<4H", 8, 12, 4, 8)  # Metadata: name, buffer
    out += struct.pack("<iII", 8, name - (entry_table + 4), len(buffers))
    out += struct.pack("<I", len(_BUFFER)) + _BUFFER + b"\0"
    out += struct.pack("<4H", 6, 8, 4, 0)  # Buffer: data; two bytes of padding
    out += struct.pack("<iI", 8, data - (buffer + 12))
    out += bytes(data - _HEADER - len(out)) + struct.pack("<I", len(content)) + content
    return bytes(out) + bytes(-len(out) % 16)


def _u32(model: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", model, at)[0])


def _field(model: bytes, table: int, index: int) -> int:
    """Where a field of a table is; 0 if the table has none."""
    layout = table - int(struct.unpack_from("<i", model, table)[0])
    size, _, *places = struct.unpack_from(f"<{2 + index + 1}H", model, layout)
    return table + int(places[index]) if 4 + 2 * index < size and places[index] else 0


def _elements(model: bytes, field: int) -> list[int]:
    """Where the tables of a vector begin."""
    if not field:
        return []
    vector = field + _u32(model, field)
    places = range(vector + 4, vector + 4 + 4 * _u32(model, vector), 4)
    return [place + _u32(model, place) for place in places]


def _name(model: bytes, entry: int) -> bytes:
    field = _field(model, entry, 0)
    if not field:
        return b""
    text = field + _u32(model, field)
    return model[text + 4 : text + 4 + _u32(model, text)]
