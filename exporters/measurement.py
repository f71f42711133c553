"""What `headtail plan` needs to know and this machine can measure: times, bytes and fidelity.

Device times are those of the phone runtime on this host unless a factor or a file says otherwise;
server times are those of the tail in this process. A split's fidelity is what the manifest says of
the artifact's heads; a picture's is the share of the golden inputs whose top-1 answer survives, a
small count that the plan prints. Models that do not classify have neither.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from exporters.graphfile import TailProgram
from exporters.verification import golden_inputs, golden_reference, verify_artifacts
from headtail.bundle import Bundle
from headtail.errors import GateFailed, UsageFault
from headtail.manifest import FORWARD, Artifact, head_entry
from headtail.metrics import top1_agreement
from headtail.plan import (
    Constraints,
    DeviceTimes,
    Link,
    Picture,
    Problem,
    Quality,
    ServerTimes,
    wire_bytes_of,
)
from headtail.plan_inputs import split_fidelity
from headtail.preprocess import Frame, load_image
from headtail.tensors import Array
from headtail.timing import measure
from headtail.wire.boundary import encode_boundary

__all__ = ["Measured", "measure_bundle"]

JPEG_QUALITIES = (75, 90, 95)
_REPLY_OVERHEAD_BYTES = 400  # JSON head and HTTP headers of one reply, as the server sends them


@dataclass(frozen=True)
class Measured:
    """Everything about a bundle on this machine that does not depend on the link."""

    device: DeviceTimes
    server: ServerTimes
    quality: Quality
    pictures: tuple[Picture, ...]
    wire_bytes: dict[str, dict[str, int]]
    samples: int

    def problem(self, link: Link, constraints: Constraints) -> Problem:
        """The planner's input for one link."""
        return Problem(
            link,
            self.device,
            self.server,
            self.wire_bytes,
            self.quality,
            self.pictures,
            constraints,
        )


def measure_bundle(
    bundle: Bundle, artifact: Artifact, codecs: Sequence[str], *, device_factor: float = 1.0
) -> Measured:
    """Measure heads on the artifact's runtime, tails in torch, codecs and pictures in numpy.

    `device_factor` says how many times slower than this host the phone is assumed to be.
    """
    if not bundle.manifest.tails:
        raise UsageFault(
            f"Bundle {bundle.manifest.name!r} has no tail.",
            expected="A plan chooses where a companion server takes over.",
            remedy="Run it whole with headtail run, or export the model again with cuts.",
        )
    result = verify_artifacts(bundle, artifacts=[artifact])
    if not result.good:
        raise GateFailed(
            f"{artifact.path} does not verify: {result.rows[0].note}",
            expected="Only a verified artifact is planned with.",
            remedy="Run headtail verify on the bundle.",
        )
    timings = {
        name: float(str(timing["p50_ms"])) * device_factor
        for name, timing in next(iter(result.timings.values())).items()
    }
    tails = _Tails(bundle)
    encode_ms: dict[str, dict[str, float]] = {}
    for cut in bundle.manifest.cuts:
        encode_ms[cut.id] = {}
        for codec in [
            c for c in codecs if c in cut.wire_bytes
        ]:  # values over 65,504 do not fit all
            arrays = tails.expected.cuts[cut.id][0]
            timing = measure(lambda a=arrays, c=cut, k=codec: encode_boundary(a, c, k), runs=10)  # type: ignore[misc]  # mypy cannot infer the defaults' types
            encode_ms[cut.id][codec] = timing.p50_ms * device_factor
    heads = {c.id: timings[head_entry(c.id)] for c in bundle.manifest.cuts}
    wire = {
        cut: {codec: size for codec, size in sizes.items() if codec in codecs}
        for cut, sizes in wire_bytes_of(bundle.manifest.cuts).items()
    }
    return Measured(
        DeviceTimes(timings[FORWARD], heads, encode_ms),
        tails.times(),
        Quality(artifact.agreement.top1, split_fidelity(artifact, bundle.manifest.cuts, wire)),
        tuple(tails.pictures(device_factor)),
        wire,
        len(tails.inputs),
    )


class _Tails:
    """The tail program entered at every cut, with the golden vectors to try it on."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.manifest = bundle, bundle.manifest
        self.classifies = bundle.manifest.task == "classification"
        tail = self.manifest.tails[0]
        program = TailProgram.read(bundle.file(tail.program), bundle.file(tail.weights))
        self.whole = program.enter(program.input_names)
        self.modules = {
            cut.id: program.enter([spec.name for spec in cut.tensors]) for cut in self.manifest.cuts
        }
        self.inputs, self.expected = golden_inputs(bundle), golden_reference(bundle)

    def times(self) -> ServerTimes:
        tail_ms = {
            cut.id: measure(
                lambda c=cut: _call(self.modules[c.id], self.expected.cuts[c.id][0]),  # type: ignore[misc]  # as above
                runs=10,
            ).p50_ms
            for cut in self.manifest.cuts
        }
        whole = measure(lambda: _call(self.whole, self.inputs[0]), runs=10).p50_ms
        reply = sum(spec.nbytes for spec in self.manifest.outputs) + _REPLY_OVERHEAD_BYTES
        return ServerTimes(whole, self._preprocess_ms(), reply, tail_ms)

    def pictures(self, device_factor: float) -> list[Picture]:
        """The frame as the model sees it, as PNG and JPEG: what a phone would send instead."""
        views = self._views()
        return [
            self._picture(name, kind, quality, views, device_factor)
            for name, kind, quality in (
                ("png", "PNG", 0),
                *((f"jpeg-{q}", "JPEG", q) for q in JPEG_QUALITIES),
            )
            if views
        ]

    def _picture(  # a row of the table above, the views and the factor
        self, name: str, kind: str, quality: int, views: list[Frame], device_factor: float
    ) -> Picture:
        files = [_encode(view, kind, quality) for view in views]
        answers = [_call(self.whole, [self._normalised(load_image(file))])[0] for file in files]
        timing = measure(lambda: _encode(views[0], kind, quality), runs=10)
        size = int(np.median([len(file) for file in files]))
        fidelity = self._agreement(answers) if self.classifies else None
        return Picture(name, size, timing.p50_ms * device_factor, fidelity)

    def _views(self) -> list[Frame]:
        golden, preprocess = self.bundle.golden(), self.manifest.preprocess
        if preprocess is None:
            return []
        frames = (golden.get(f"frame.{i}") for i in range(len(self.inputs)))
        return [preprocess.view(frame.astype(np.uint8)) for frame in frames if frame is not None]

    def _normalised(self, view: Frame) -> Array:
        preprocess = self.manifest.preprocess
        assert preprocess is not None  # there are no views without it
        return preprocess.normalise(view)

    def _preprocess_ms(self) -> float:
        views = self._views()
        if not views:
            return 0.0
        file = _encode(views[0], "JPEG", 90)
        return measure(lambda: self._normalised(load_image(file)), runs=10).p50_ms

    def _agreement(self, answers: list[Array]) -> float:
        reference = [outputs[0] for outputs in self.expected.outputs]
        return top1_agreement(reference=reference, candidate=answers) / len(answers)


def _call(module: torch.nn.Module, arrays: Sequence[Array]) -> list[Array]:
    with torch.inference_mode():
        return [out.numpy() for out in module(*(torch.from_numpy(np.array(a)) for a in arrays))]


def _encode(view: Frame, kind: str, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    options = {"quality": quality} if quality else {}
    Image.fromarray(view).save(buffer, kind, **options)
    return buffer.getvalue()
