"""ML programs written by hand, without a converter: packages of a few operators for fast tests."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from exporters.mil.values import MIL_TYPES
from quantizers.coreml_proto import proto

NUMBERS = {t.name: number for number, t in MIL_TYPES.items()}
CODES = {t.name: t.blob_code for t in MIL_TYPES.values()}
BLOB = "@model_path/weights/weight.bin"
MODEL = "com.apple.CoreML/model.mlmodel"


@dataclass
class Op:
    """One operator: inputs name a value or a list of values; outputs are (name, type, shape)."""

    type: str
    inputs: Mapping[str, str | Sequence[str]]
    outputs: Sequence[tuple[str, str, Sequence[int]]]
    blocks: Sequence[Code] = ()


@dataclass
class Code:
    """One function or nested block. `constants` hold Python values or arrays; arrays of floats go
    to the blob. An input of type `state:fp16` is a state."""

    inputs: Sequence[tuple[str, str, Sequence[int]]]
    outputs: Sequence[str]
    ops: Sequence[Op]
    constants: Mapping[str, Any] = field(default_factory=dict)
    opset: str = "CoreML8"


def set_type(proto: Any, dtype: str, shape: Sequence[int]) -> None:
    """Fill a `ValueType`."""
    if dtype.startswith("state:"):
        set_type(proto.stateType.wrappedType, dtype.removeprefix("state:"), shape)
        return
    proto.tensorType.dataType = NUMBERS[dtype]
    proto.tensorType.rank = len(shape)
    for size in shape:
        proto.tensorType.dimensions.add().constant.size = size


def record(code: int, payload: bytes, at: int) -> bytes:
    """A blob record placed at `at`: metadata, bytes, padding to 64."""
    head = struct.pack("<IIQQQ", 0xDEADBEEF, code, len(payload), at + 64, 0).ljust(64, b"\0")
    return head + payload + b"\0" * (-len(payload) % 64)


class Writer:
    """Writes packages; `blob` grows as constants are added."""

    def __init__(self) -> None:
        self.model = proto("Model_pb2").Model()
        self.model.specificationVersion = 9
        self.blob = struct.pack("<II", 0, 2).ljust(64, b"\0")

    def add_blob(self, dtype: str, payload: bytes) -> int:
        """Append a record; its offset."""
        at = len(self.blob)
        self.blob += record(CODES[dtype], payload, at)
        return at

    def constant(self, block: Any, name: str, value: Any) -> None:
        """A `const` operator: str, bool, int, float, or an array (float16/32, integers)."""
        operator = block.operations.add(type="const")
        output = operator.outputs.add(name=name)
        literal = operator.attributes["val"]
        tensor = literal.immediateValue.tensor
        if isinstance(value, str):
            set_type(output.type, "string", [])
            tensor.strings.values.append(value)
        elif isinstance(value, bool):
            set_type(output.type, "bool", [])
            tensor.bools.values.append(value)
        elif isinstance(value, int):
            set_type(output.type, "int32", [])
            tensor.ints.values.append(value)
        elif isinstance(value, float):
            set_type(output.type, "fp32", [])
            tensor.floats.values.append(value)
        else:
            self._array(output, literal, np.asarray(value))
        literal.type.CopyFrom(output.type)

    def _array(self, output: Any, literal: Any, array: np.ndarray) -> None:
        names = {"float16": "fp16", "float32": "fp32", "int64": "int32"}
        dtype = names.get(array.dtype.name, array.dtype.name)
        set_type(output.type, dtype, array.shape)
        if dtype == "int32":
            literal.immediateValue.tensor.ints.values.extend(array.flatten().tolist())
            return
        literal.blobFileValue.fileName = BLOB
        literal.blobFileValue.offset = self.add_blob(dtype, array.tobytes())

    def function(self, name: str, code: Code) -> None:
        """Add a function to the program."""
        proto = self.model.mlProgram.functions[name]
        proto.opset = code.opset
        for input_name, dtype, shape in code.inputs:
            set_type(proto.inputs.add(name=input_name).type, dtype, shape)
        self.block(proto.block_specializations[code.opset], code)

    def block(self, block: Any, code: Code) -> None:
        """Fill the block of a function, or a nested one, apart from its inputs."""
        block.outputs.extend(code.outputs)
        for constant_name, value in code.constants.items():
            self.constant(block, constant_name, value)
        for op in code.ops:
            operator = block.operations.add(type=op.type)
            for key, given in op.inputs.items():
                for value in [given] if isinstance(given, str) else given:
                    operator.inputs[key].arguments.add(name=value)
            for output_name, dtype, shape in op.outputs:
                set_type(operator.outputs.add(name=output_name).type, dtype, shape)
            for nested in op.blocks:
                inner = operator.blocks.add()
                for input_name, dtype, shape in nested.inputs:
                    set_type(inner.inputs.add(name=input_name).type, dtype, shape)
                self.block(inner, nested)

    def write(self, path: Path) -> Path:
        """Write the package directory."""
        weights = path / "Data/com.apple.CoreML/weights"
        weights.mkdir(parents=True)
        (weights / "weight.bin").write_bytes(self.blob)
        (path / "Data" / MODEL).write_bytes(self.model.SerializeToString())
        manifest = {
            "fileFormatVersion": "1.0.0",
            "itemInfoEntries": {"root": {"path": MODEL, "name": "model.mlmodel"}},
            "rootModelIdentifier": "root",
        }
        (path / "Manifest.json").write_text(json.dumps(manifest))
        return path


def write_package(path: Path, **functions: Code) -> Path:
    """A package with these functions at `path`."""
    writer = Writer()
    for name, code in functions.items():
        writer.function(name, code)
    return writer.write(path)


WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4) / 7


def linear_code() -> Code:
    """y[2,3] = x[2,4] @ WEIGHT.T, then relu: one blob constant, two operators."""
    return Code(
        inputs=[("x", "fp32", [2, 4])],
        outputs=["y"],
        constants={"w": WEIGHT},
        ops=[
            Op("linear", {"x": "x", "weight": "w"}, [("h", "fp32", [2, 3])]),
            Op("relu", {"x": "h"}, [("y", "fp32", [2, 3])]),
        ],
    )


def counting_code(limit: str = "n") -> Code:
    """while i < n: i = i + 1, h = h * h + x; then a state adds up h. Returns h and i."""
    scalar: tuple[str, list[int]] = ("int32", [])
    carried = [("i", *scalar), ("h", "fp32", [2])]
    holds = Code(carried, ["on"], [Op("less", {"x": "i", "y": limit}, [("on", "bool", [])])])
    body = Code(
        carried,
        ["next", "h_next"],
        [
            Op("add", {"x": "i", "y": "one"}, [("next", *scalar)]),
            Op("mul", {"x": "h", "y": "h"}, [("hh", "fp32", [2])]),
            Op("add", {"x": "hh", "y": "x"}, [("h_next", "fp32", [2])]),
        ],
        {"one": 1},
    )
    carry = [("count", *scalar), ("y", "fp32", [2])]
    return Code(
        inputs=[("x", "fp32", [2]), ("n", *scalar), ("s", "state:fp32", [2])],
        outputs=["y", "count", "total"],
        ops=[
            Op("while_loop", {"loop_vars": ["zero", "x"]}, carry, [holds, body]),
            Op("read_state", {"input": "s"}, [("before", "fp32", [2])]),
            Op("add", {"x": "before", "y": "y"}, [("after", "fp32", [2])]),
            Op("write_state", {"input": "s", "data": "after"}, []),
            Op("read_state", {"input": "s"}, [("total", "fp32", [2])]),
        ],
        constants={"zero": 0},
    )
