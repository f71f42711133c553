"""What the `model.py` files of an exported Triton repository run: two models of Python's backend.

    NAME            `Front`: takes a phone's request as it is, one frame without a batch axis, and
                    hands it on to the tail of the bundle that the request names
    NAME-1a2b3c...  `Tail`: one bundle; Triton's dynamic batcher gives it requests of many phones,
                    which run as one batch even where they enter at different cuts

Triton's versions are numbers and a bundle's is its id, so a phone asks NAME without a version and
the bundle stands in `split.bundle`, which `Tail` checks and repeats in its reply. A refusal is a
400 or a 503: Triton's HTTP has neither 409 nor 422, 429 nor 504.

Triton's own module exists inside Triton only; `model.py` passes it in as `triton`.
Source: https://github.com/triton-inference-server/python_backend (README, "Business Logic
Scripting", "Inference Request Parameters"), read at f9088ff, 2026-07. Parameters of a response, and
so these models, need Triton 25.02 or newer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from companion_server.tails import Group, TailRunner
from headtail.bundle import open_bundle
from headtail.errors import (
    BundleMismatch,
    EnvironmentFault,
    HeadtailError,
    TensorMismatch,
    UsageFault,
    WireFault,
)
from headtail.tensors import Array
from headtail.wire import boundary, split

__all__ = ["BUNDLE_FOLDER", "CUTS", "Front", "Tail", "tail_name"]

BUNDLE_FOLDER = "tail.bundle"  # beside the tail's model.py
CUTS = "headtail.cuts"  # parameter of the tail's configuration: the cuts it answers
ID_DIGITS = 12  # of the bundle id in a model's name


def tail_name(model: str, bundle_id: str) -> str:
    """Name of the Triton model that runs one bundle of `model`."""
    return f"{model}-{bundle_id[:ID_DIGITS]}"


class Front:
    """`TritonPythonModel` of the name that phones ask for."""

    triton: ClassVar[Any]  # the module triton_python_backend_utils

    def initialize(self, args: Mapping[str, str]) -> None:
        """Triton calls this once; `args` are its texts."""
        config = json.loads(args["model_config"])
        self._name = config["name"]
        self._shapes = {o["name"]: [int(size) for size in o["dims"]] for o in config["output"]}

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response for each request, in their order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            asked = self._handed_on(request)
        except HeadtailError as error:
            return _refused(self.triton, error)
        reply = asked.exec()
        if reply.has_error():
            failed = reply.error()
            told = self.triton.TritonError(failed.message(), failed.code())
            return self.triton.InferenceResponse(output_tensors=[], error=told)
        outputs = [
            self.triton.Tensor(t.name(), t.as_numpy().reshape(self._shapes[t.name()]))
            for t in reply.output_tensors()
        ]
        parameters = json.loads(reply.parameters() or "{}")
        return self.triton.InferenceResponse(output_tensors=outputs, parameters=parameters)

    def _handed_on(self, request: Any) -> Any:
        options = _options(request)
        frame = self.triton.get_input_tensor_by_name(request, boundary.INPUT_NAME).as_numpy()
        wanted = [name for name in self._shapes if name in request.requested_output_names()]
        return self.triton.InferenceRequest(
            model_name=tail_name(self._name, options.bundle),
            inputs=[self.triton.Tensor(boundary.INPUT_NAME, frame.reshape(1, -1))],
            requested_output_names=wanted or list(self._shapes),
            parameters=options.to_parameters(),
            timeout=(options.deadline_ms or 0) * 1000,  # microseconds in the tail's queue
        )


class Tail:
    """`TritonPythonModel` of one bundle; `folder` is the one of its `model.py`."""

    triton: ClassVar[Any]
    folder: ClassVar[Path]

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the bundle, every byte checked, and prove its tail on golden activations."""
        config = json.loads(args["model_config"])
        bundle = open_bundle(self.folder / BUNDLE_FOLDER)
        self._manifest = bundle.manifest
        self._cuts = config["parameters"][CUTS]["string_value"].split(",")
        self._runner = TailRunner()
        self._runner.load(bundle)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response for each request, in their order; all of them computed together."""
        groups: dict[int, Group] = {}
        replies: list[Any] = [None] * len(requests)
        for index, request in enumerate(requests):
            try:
                groups[index] = self._group(request)
            except HeadtailError as error:
                replies[index] = _refused(self.triton, error)
        for index, reply in self._computed(groups).items():
            replies[index] = reply
        return replies

    def _group(self, request: Any) -> Group:
        options = _options(request)
        if options.bundle != self._manifest.bundle_id or options.cut not in self._cuts:
            raise BundleMismatch(
                f"Bundle {options.bundle!r} with cut {options.cut!r} is not held.",
                held={self._manifest.bundle_id: self._cuts},
                expected=f"This model runs {self._manifest.bundle_id} ({', '.join(self._cuts)}).",
                remedy="Export that bundle to this repository, or answer on the device.",
            )
        frame = self.triton.get_input_tensor_by_name(request, boundary.INPUT_NAME)
        data = frame.as_numpy().tobytes()
        if boundary.codec_of(data) != options.codec:
            raise TensorMismatch(
                f"The frame is of codec {boundary.codec_of(data)!r}.",
                expected=f"It is of the promised codec {options.codec!r}.",
                remedy="Make split.codec what the frame was encoded with.",
            )
        cut = self._manifest.cut(options.cut)
        return Group(cut.id, tuple(boundary.decode_boundary(data, cut)))

    def _computed(self, groups: Mapping[int, Group]) -> dict[int, Any]:
        if not groups:
            return {}
        started = time.perf_counter()
        try:
            outputs = self._runner.run(self._manifest.bundle_id, list(groups.values()))
        except Exception as error:
            if len(groups) == 1:
                return dict.fromkeys(groups, _refused(self.triton, error))
            # one that fails must not fail the others
            return {i: self._computed({i: group})[i] for i, group in groups.items()}
        compute_ms = (time.perf_counter() - started) * 1e3
        batch = sum(group.samples for group in groups.values())
        return {
            index: self._response(arrays, compute_ms, batch)
            for index, arrays in zip(groups, outputs, strict=True)
        }

    def _response(self, arrays: Sequence[Array], compute_ms: float, batch: int) -> Any:
        named = zip(self._manifest.outputs, arrays, strict=True)
        return self.triton.InferenceResponse(
            output_tensors=[self.triton.Tensor(spec.name, array) for spec, array in named],
            parameters={  # Triton takes no fractions here
                split.BUNDLE: self._manifest.bundle_id,
                "split.compute_ms": round(compute_ms),
                "split.batch": batch,
            },
        )


def _options(request: Any) -> split.SplitParameters:
    options = split.SplitParameters.from_parameters(json.loads(request.parameters() or "{}"))
    if options is None:
        raise WireFault(
            "The request has no split.* parameters.",
            expected="This model runs tails, from a cut that split.cut names.",
            remedy="Send what headtail.offload.Companion sends.",
        )
    return options


def _refused(triton: Any, error: Exception) -> Any:
    code = triton.TritonError.INTERNAL
    if isinstance(error, (UsageFault, WireFault)):
        code = triton.TritonError.INVALID_ARG  # 400
    elif isinstance(error, EnvironmentFault):
        code = triton.TritonError.UNAVAILABLE  # 503
    return triton.InferenceResponse(output_tensors=[], error=triton.TritonError(str(error), code))
