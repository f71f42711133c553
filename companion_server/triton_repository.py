"""A bundle's tail as models of a Triton Inference Server: folders, configurations, no conversion.

    REPOSITORY/NAME/config.pbtxt              takes a frame of any length, no batch axis
    REPOSITORY/NAME/1/model.py                `Front` of `triton_models.py`
    REPOSITORY/NAME-<id>/config.pbtxt         dynamic batching over frames of different lengths
    REPOSITORY/NAME-<id>/1/model.py           `Tail` of `triton_models.py`
    REPOSITORY/NAME-<id>/1/tail.bundle/       the bundle, unchanged, checked again when it is loaded

Another bundle of the same model adds one more `NAME-<id>`, so phones of both are answered while
they update. Triton needs numpy, torch and this package in the Python of its Python backend.
Source: https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from companion_server.triton_models import BUNDLE_FOLDER, CUTS, tail_name
from headtail.bundle import Bundle
from headtail.errors import UnknownName, UsageFault
from headtail.tensors import TensorSpec, oip_datatype
from headtail.wire.boundary import INPUT_NAME

__all__ = ["front_config", "tail_config", "write_repository"]

VERSION = "1"  # Triton's, a number; bundles are told apart by the models' names
FRONTS = 8  # frames that wait for a tail at once; more make no larger batch
MAX_BATCH = 16
MAX_WAIT_US = 2000  # that a frame waits for others
MAX_QUEUE = 64
_MODEL = '''\
"""Written by `headtail export-triton`; needs the packages headtail[server], torch and numpy."""

from pathlib import Path

import triton_python_backend_utils as pb_utils

from companion_server.triton_models import {kind}


class TritonPythonModel({kind}):
    triton = pb_utils
    folder = Path(__file__).parent
'''


def write_repository(bundle: Bundle, repository: Path, *, cuts: Sequence[str] = ()) -> list[Path]:
    """Add a verified bundle's models to `repository`; the two models' folders.

    `cuts`: the ones to answer, all without any. Nothing that exists is changed. Raises
    `UsageFault` for a bundle that is there already, for one without a tail, and for one whose
    outputs are not those of the model's other bundles there; `UnknownName` for a cut.
    """
    manifest = bundle.manifest
    held = [cut.id for cut in manifest.cuts]
    for cut in cuts:
        if cut not in held:
            raise UnknownName("cut", cut, held)
    if not manifest.tails or not held:
        raise UsageFault(
            f"{manifest.name!r} was exported without a tail or cuts.",
            expected="A phone asks Triton for the tail from a cut.",
            remedy="Export the bundle again, with cuts.",
        )
    front = repository / manifest.name
    tail = repository / tail_name(manifest.name, manifest.bundle_id)
    if tail.exists():
        raise UsageFault(
            f"{tail} exists already.",
            expected="A repository holds a bundle once.",
            remedy="Remove that folder to write it again.",
        )
    repository.mkdir(parents=True, exist_ok=True)
    _add_front(front, front_config(bundle))
    with _model(tail, tail_config(bundle, cuts or held), "Tail") as version:
        shutil.copytree(bundle.path, version / BUNDLE_FOLDER)
    return [front, tail]


def front_config(bundle: Bundle) -> str:
    """`config.pbtxt` of the model that phones ask."""
    manifest = bundle.manifest
    outputs = [_output(spec, list(spec.shape)) for spec in manifest.outputs]
    # no batch axis: a phone's frame is one vector of bytes, of a length that its content decides
    return _config(manifest.name, 0, [], outputs, [_instances(FRONTS)])


def tail_config(bundle: Bundle, cuts: Sequence[str]) -> str:
    """`config.pbtxt` of the model that runs one bundle."""
    manifest = bundle.manifest
    outputs = [_output(spec, list(spec.shape[1:])) for spec in manifest.outputs]
    rest = [
        "dynamic_batching {",
        f"  max_queue_delay_microseconds: {MAX_WAIT_US}",
        "  default_queue_policy {",
        "    timeout_action: REJECT",
        "    allow_timeout_override: true",
        f"    max_queue_size: {MAX_QUEUE}",
        "  }",
        "}",
        _instances(1),
        f"parameters {{ key: {_text(CUTS)} value {{ string_value: {_text(','.join(cuts))} }} }}",
    ]
    name = tail_name(manifest.name, manifest.bundle_id)
    return _config(name, MAX_BATCH, ["allow_ragged_batch: true"], outputs, rest)


def _config(
    name: str, max_batch: int, ragged: list[str], outputs: list[str], rest: list[str]
) -> str:
    taken = " ".join([f"name: {_text(INPUT_NAME)} data_type: TYPE_UINT8 dims: [ -1 ]", *ragged])
    lines = [
        f"name: {_text(name)}",
        'backend: "python"',
        f"max_batch_size: {max_batch}",
        f"input [ {{ {taken} }} ]",
        *outputs,
        *rest,
    ]
    return "\n".join(lines) + "\n"


def _output(spec: TensorSpec, sizes: list[int]) -> str:
    # Triton has no tensors without axes: a scalar per sample is presented as a vector of one
    shape = f"dims: {sizes}" if sizes else "dims: [ 1 ] reshape { shape: [ ] }"
    return f"output [ {{ name: {_text(spec.name)} data_type: {_type(spec)} {shape} }} ]"


def _type(spec: TensorSpec) -> str:
    return f"TYPE_{oip_datatype(spec)}"


def _instances(count: int) -> str:
    return f"instance_group [ {{ count: {count} kind: KIND_CPU }} ]"


def _text(value: str) -> str:
    return json.dumps(value)


def _add_front(folder: Path, config: str) -> None:
    held = folder / "config.pbtxt"
    if not folder.exists():
        with _model(folder, config, "Front"):
            pass
    elif not held.is_file() or held.read_text("utf-8") != config:
        raise UsageFault(
            f"{folder} is a model already, with another configuration.",
            expected="All bundles of one model name in a repository give the same outputs.",
            remedy="Write to another repository, or remove that folder.",
        )


@contextlib.contextmanager
def _model(folder: Path, config: str, kind: str) -> Iterator[Path]:
    """The version folder of a model that appears, whole, when the block ends well."""
    staging = Path(tempfile.mkdtemp(prefix=".headtail-", dir=folder.parent))
    try:
        staging.chmod(0o755)  # another user may run Triton
        version = staging / VERSION
        version.mkdir()
        (staging / "config.pbtxt").write_text(config, "utf-8")
        (version / "model.py").write_text(_MODEL.format(kind=kind), "utf-8")
        yield version
        staging.replace(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
