"""Opening an .mlpackage from disk: Manifest.json, the model proto, the weight blob files.

An .mlpackage is a directory: `Manifest.json` names the root model inside `Data/`, a protobuf
`Model`; big constants live beside it in `weights/weight.bin`. A blob file starts with a 64-byte
header (u32 record count, u32 version 2). A record is 64 bytes (u32 0xDEADBEEF, u32 type code, u64
bytes, u64 offset of the bytes, u64 bits of padding after the last sub-byte element). The layout is
read from `MILBlob/Blob/StorageFormat.hpp` in https://github.com/apple/coremltools.

Nothing is trusted: every offset and length is compared with the size of the file before a slice
is taken, no path may leave the package, and a fault names the file. Nothing is executed.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headtail.errors import ConversionFailed, IntegrityFault
from quantizers.coreml_proto import proto

__all__ = ["Bytes", "Package"]

Bytes = npt.NDArray[np.uint8]

MAX_MANIFEST_BYTES = 1 << 20
MAX_MODEL_BYTES = 1 << 31  # protobuf's own limit for one message
BLOB_VERSION = 2
BLOB_ALIGNMENT = 64
BLOB_SENTINEL = 0xDEADBEEF
BLOB_HEADER = struct.Struct("<II")
BLOB_RECORD = struct.Struct("<IIQQQ")
MODEL_PATH_MARK = "@model_path/"
REMEDY = "Export the model again or copy the package again."


class Package:
    """One .mlpackage. `model` is the parsed proto; `blob` reads one record of a weight file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = path / "Data"
        self._model_file = self._inside(self._root_item(), self._data)
        self._blobs: dict[str, Bytes] = {}
        self.model = self._parse()

    def fault(self, what: str, expected: str, *, file: Path | None = None) -> IntegrityFault:
        """An `IntegrityFault` about `file`, or about the model proto when none is given."""
        named = str(file or self._model_file)
        return IntegrityFault(f"{named}: {what}", file=named, expected=expected, remedy=REMEDY)

    def blob(self, file_name: str, offset: int, type_code: int) -> Bytes:
        """The bytes of the record at `offset`, without a copy; `type_code` must be the record's."""
        file = self._blob_file(file_name)
        data = self._blob_bytes(file)
        end = offset + BLOB_RECORD.size
        if offset < BLOB_ALIGNMENT or offset % BLOB_ALIGNMENT or end > data.size:
            raise self.fault(
                f"record offset {offset} is outside the file of {data.size} bytes or unaligned.",
                f"A record starts at a multiple of {BLOB_ALIGNMENT} and is whole.",
                file=file,
            )
        sentinel, code, size, start, _ = BLOB_RECORD.unpack(data[offset:end].tobytes())
        if sentinel != BLOB_SENTINEL or code != type_code:
            raise self.fault(
                f"the record at {offset} starts with {sentinel:#x} and has type code {code}.",
                f"It must start with {BLOB_SENTINEL:#x} and have type code {type_code}.",
                file=file,
            )
        if start < end or start % BLOB_ALIGNMENT or start + size > data.size:
            raise self.fault(
                f"the record at {offset} claims {size} bytes at {start} of {data.size}.",
                f"The bytes follow the record, aligned to {BLOB_ALIGNMENT}, inside the file.",
                file=file,
            )
        return data[start : start + size]

    def _root_item(self) -> str:
        file = self.path / "Manifest.json"
        if not file.is_file():
            raise self.fault("the file is missing.", "Every .mlpackage has one.", file=file)
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise self.fault(
                f"the file has {file.stat().st_size} bytes.",
                f"At most {MAX_MANIFEST_BYTES} bytes are read.",
                file=file,
            )
        try:
            manifest = json.loads(file.read_text("utf-8"))
            item = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.fault(
                f"the root model cannot be found ({type(error).__name__}: {error}).",
                "rootModelIdentifier names an entry of itemInfoEntries that has a path.",
                file=file,
            ) from None
        if not isinstance(item, str):
            raise self.fault(f"the root path is {item!r}.", "A path is a string.", file=file)
        return item

    def _inside(self, item: str, folder: Path) -> Path:
        file = folder / item
        try:
            contained = file.resolve().is_relative_to(self._data.resolve()) and "\0" not in item
        except (OSError, ValueError):
            contained = False
        if not contained:
            raise self.fault(
                f"the path {item!r} leaves the package.",
                "Every path stays inside Data/.",
                file=self.path,
            )
        if not file.is_file():
            raise self.fault("the file is missing.", "The package names it.", file=file)
        return file

    def _parse(self) -> Any:
        size = self._model_file.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise self.fault(f"the file has {size} bytes.", f"At most {MAX_MODEL_BYTES} are read.")
        model = proto("Model_pb2").Model()
        try:
            model.ParseFromString(self._model_file.read_bytes())
        except Exception as error:  # protobuf's DecodeError; its module must not be imported here
            raise self.fault(
                f"the file is not a Core ML model ({error}).", "It is a protobuf `Model` message."
            ) from None
        kind = model.WhichOneof("Type")
        if kind != "mlProgram":
            raise ConversionFailed(
                f"{self._model_file} holds a model of type {kind}.",
                expected="Only ML programs (mlProgram) can be evaluated.",
                remedy="Convert with minimum_deployment_target iOS15 or newer.",
            )
        return model

    def _blob_file(self, file_name: str) -> Path:
        if not file_name.startswith(MODEL_PATH_MARK):
            raise self.fault(
                f"a constant lies in {file_name!r}.", f"Blob files start with {MODEL_PATH_MARK!r}."
            )
        return self._inside(file_name.removeprefix(MODEL_PATH_MARK), self._model_file.parent)

    def _blob_bytes(self, file: Path) -> Bytes:
        key = str(file)
        if key not in self._blobs:
            data = np.fromfile(file, dtype=np.uint8)
            version = (
                BLOB_HEADER.unpack(data[: BLOB_HEADER.size].tobytes())[1:]
                if (data.size >= BLOB_ALIGNMENT)
                else (0,)
            )
            if version != (BLOB_VERSION,):
                raise self.fault(
                    f"the blob header has version {version[0]} in {data.size} bytes.",
                    f"The header has 64 bytes and version {BLOB_VERSION}.",
                    file=file,
                )
            self._blobs[key] = data
        return self._blobs[key]
