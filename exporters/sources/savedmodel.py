"""A TensorFlow SavedModel folder: a model without a PyTorch program.

It goes to LiteRT through TensorFlow's own converter and to Core ML through coremltools; ExecuTorch
takes PyTorch programs only. There is no torch graph, so there are no cuts and no tail, and what the
artifacts must agree with is TensorFlow itself. https://www.tensorflow.org/guide/saved_model
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporters.sources.model import plain_name
from exporters.sources.photos import PhotoSets
from headtail.errors import MissingDependency, SourceFault
from headtail.preprocess import Frame, Preprocess
from headtail.tensors import TensorSpec
from quantizers.calibration import CalibrationSet, from_arrays

__all__ = ["ForeignModel", "is_saved_model", "load"]

_FILE = "saved_model.pb"
_SIGNATURE = "serving_default"
_NAMES = {"float32": "f32", "float16": "f16", "int32": "i32", "int8": "i8", "uint8": "u8"}


@dataclass(frozen=True)
class ForeignModel:
    """A SavedModel with photos to judge it on; fields as in `SourceModel`.

    `inputs` and `outputs` are those of the signature `serving_default`, batch 1, by name.
    """

    name: str
    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: Preprocess
    calibration: CalibrationSet
    evaluation: CalibrationSet
    frames: tuple[Frame, ...]
    origin: str
    remarks: tuple[str, ...]
    labels: tuple[str, ...] = ()
    task: str = "tensor"


def is_saved_model(path: Path) -> bool:
    """Whether a folder holds a SavedModel."""
    return (path / _FILE).is_file()


def load(text: str, *, name: str = "", images: Path | None = None) -> ForeignModel:
    """Read the signature and prepare photos for its one image input; raises `SourceFault`."""
    path = Path(text)
    inputs, outputs = _signature(path)
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) != 4 or shape[-1] != 3:  # NHWC, RGB
        raise SourceFault(
            f"The signature {_SIGNATURE} of {path.name} takes {', '.join(map(str, inputs))}.",
            expected="One photo of a known size, channels last.",
            remedy="Save the model with such a signature, or port it to PyTorch.",
        )
    preprocess = Preprocess(
        height=shape[1],
        width=shape[2],
        colour="RGB",
        fit="crop",
        crop_fraction=1.0,
        resize="bilinear",
        scale=1 / 255,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        layout="NHWC",
    )
    sets = PhotoSets.load(images, preprocess)
    return ForeignModel(
        name or plain_name(path.name),
        path,
        inputs,
        outputs,
        preprocess,
        from_arrays([(preprocess(f),) for f in sets.calibration], source=sets.source, seed=0),
        from_arrays([(preprocess(f),) for f in sets.evaluation], source=sets.source, seed=0),
        tuple(sets.evaluation),
        f"SavedModel {path.name}",
        (
            "photos are scaled to 0..1: a SavedModel does not say what it expects",
            "a SavedModel has no PyTorch program: no cuts, no tail",
        ),
    )


def _signature(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """From the protocol buffer, without starting TensorFlow's runtime."""
    try:
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
        from tensorflow.python.framework.dtypes import as_dtype
    except ImportError as error:
        raise MissingDependency(
            "tensorflow-cpu", needed_for="SavedModels", install="pip install 'headtail[export]'"
        ) from error
    holder = SavedModel()
    holder.ParseFromString((path / _FILE).read_bytes())
    signatures = holder.meta_graphs[0].signature_def
    if _SIGNATURE not in signatures:
        raise SourceFault(
            f"{path.name} has the signatures {', '.join(sorted(signatures)) or 'none'}.",
            expected=f"A SavedModel for inference has the signature {_SIGNATURE}.",
            remedy=f"Save it with signatures={{'{_SIGNATURE}': function}}.",
        )
    found = signatures[_SIGNATURE]

    def specs(tensors: dict[str, object]) -> tuple[TensorSpec, ...]:
        return tuple(_spec(name, tensors[name], as_dtype) for name in sorted(tensors))

    return specs(dict(found.inputs)), specs(dict(found.outputs))


def _spec(name: str, info: object, as_dtype: object) -> TensorSpec:
    dtype = as_dtype(info.dtype).name  # type: ignore[operator,attr-defined]  # TensorFlow's own types
    sizes = [dim.size for dim in info.tensor_shape.dim]  # type: ignore[attr-defined]  # likewise
    sizes[:1] = [1] if sizes else []
    if dtype not in _NAMES or any(size < 1 for size in sizes):
        raise SourceFault(
            f"The tensor {name} is {dtype}{sizes}.",
            expected=f"Every size but the batch is known, and the type is one of {list(_NAMES)}.",
            remedy="Save the model with a fixed input size.",
        )
    return TensorSpec(name, _NAMES[dtype], tuple(sizes))
