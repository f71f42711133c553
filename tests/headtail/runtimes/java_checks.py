"""What else a Java adapter must do, in the process that holds its JVM."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headtail.errors import RuntimeUnavailable
from headtail.runtimes import Runtime
from headtail.runtimes.executorch_java import ExecuTorchJava, _plug, _read, _sink
from headtail.runtimes.litert_java import LiteRTJava
from headtail.tensors import TensorSpec
from tests.headtail.runtimes.session_contract import Made

Check = Callable[[Runtime, Made], None]


def executorch() -> tuple[Runtime, tuple[Check, ...]]:
    """The adapter and its own checks."""
    return ExecuTorchJava(), (check_executorch_is_there, check_dtypes, check_lists_are_half)


def check_executorch_is_there(runtime: Runtime, made: Made) -> None:
    capability = runtime.probe()
    assert capability.available, capability.reason
    assert capability.version.startswith("org.pytorch:executorch-android, ")


def check_dtypes(runtime: Runtime, made: Made) -> None:
    """Bytes go in and come out the same, for every dtype that the Java API has."""
    generator = np.random.default_rng(0)
    for dtype in ("f32", "f64", "f16", "i32", "i64", "i8", "u8"):
        spec = TensorSpec("any", dtype, (2, 3))
        array = np.frombuffer(generator.bytes(spec.nbytes), spec.numpy_dtype).reshape(spec.shape)
        plug = _plug(spec)
        plug.buffer.put(array.tobytes())
        assert _read(plug.value.toTensor(), _sink(spec), spec).tobytes() == array.tobytes(), dtype


def check_lists_are_half(runtime: Runtime, made: Made) -> None:
    """Why lists are never passed: if pyjnius mends this, the remark in the adapter can go."""
    from jnius import autoclass

    made_of_list = autoclass("org.pytorch.executorch.Tensor").fromBlob([1.0, 2.0], [2])
    assert made_of_list.dtype().toString() == "HALF"


def litert() -> tuple[Runtime, tuple[Check, ...]]:
    """The adapter and its own checks."""
    return LiteRTJava(), (check_litert_is_there, check_no_silent_cpu)


def check_litert_is_there(runtime: Runtime, made: Made) -> None:
    capability = runtime.probe()
    assert capability.available, capability.reason
    assert capability.version == "com.google.ai.edge.litert:litert, CompiledModel"


def check_no_silent_cpu(runtime: Runtime, made: Made) -> None:
    """This machine has no GPU that LiteRT could use."""
    with pytest.raises(RuntimeUnavailable, match=r"this phone's gpu: LiteRtException: .*Choose"):
        runtime.load(made.path, entries=made.entries, accelerator="gpu")


ADAPTERS: dict[str, Callable[[], tuple[Runtime, tuple[Check, ...]]]] = {
    "executorch": executorch,
    "litert": litert,
}
