"""In the worker process: a SavedModel through TensorFlow, TFLiteConverter and coremltools."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporters.exchange import read_samples
from headtail.tensors import Array, TensorSpec

__all__ = ["answers", "write"]

_SIGNATURE = "serving_default"


def answers(
    path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], samples: Path
) -> list[list[Array]]:
    """What TensorFlow itself says to every sample: the outputs in order."""
    function = _function(path, inputs)[1]
    return [
        [result[spec.name].numpy() for spec in outputs]
        for result in (_call(function, inputs, s) for s in read_samples(samples, inputs))
    ]


def write(
    path: Path,
    inputs: Sequence[TensorSpec],
    kind: tuple[str, str],
    destination: Path,
    scratch: Path,
    calibration: Path,
) -> None:
    """Write one format in one precision; `kind` is (format, precision)."""
    format_name, precision = kind
    if format_name == "coreml":
        _write_coreml(path, inputs, precision, destination)
        return
    from quantizers import litert_backend, recipe
    from quantizers.plan import Plan

    float_file = scratch / "float.tflite"
    if not float_file.exists():
        float_file.write_bytes(_litert(path, inputs, scratch))
    asked = recipe.recipe(precision)
    if asked.name == "fp32":
        destination.write_bytes(float_file.read_bytes())
        return
    samples = {"forward": read_samples(calibration, inputs)} if asked.needs_calibration else {}
    litert_backend.quantize_file(float_file, destination, Plan(asked), samples)


def _function(path: Path, inputs: Sequence[TensorSpec]) -> tuple[Any, Any]:
    """The loaded model (which owns the variables) and its signature for a batch of one."""
    import tensorflow as tf

    model = tf.saved_model.load(str(path))
    signature = model.signatures[_SIGNATURE]
    specs = {s.name: tf.TensorSpec(s.shape, s.numpy_dtype, name=s.name) for s in inputs}
    fixed = tf.function(signature).get_concrete_function(**specs)
    return model, fixed


def _call(function: Any, inputs: Sequence[TensorSpec], sample: Sequence[Array]) -> Any:
    import tensorflow as tf

    given = zip(inputs, sample, strict=True)
    return function(**{spec.name: tf.constant(array) for spec, array in given})


def _litert(path: Path, inputs: Sequence[TensorSpec], scratch: Path) -> bytes:
    import tensorflow as tf

    model, function = _function(path, inputs)
    fixed = scratch / "fixed"
    tf.saved_model.save(model, str(fixed), signatures={"forward": function})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(fixed), signature_keys=["forward"])
    written: bytes = converter.convert()
    shutil.rmtree(fixed)
    return written


def _write_coreml(
    path: Path, inputs: Sequence[TensorSpec], precision: str, destination: Path
) -> None:
    import coremltools as ct

    half = precision == "fp16"
    model = ct.convert(
        str(path),
        source="tensorflow",
        convert_to="mlprogram",
        inputs=[ct.TensorType(name=s.name, shape=s.shape, dtype=s.numpy_dtype) for s in inputs],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        skip_model_load=True,
    )
    model.save(str(destination))
