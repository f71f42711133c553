"""One classifier of photos, captured once, converted to LiteRT once, observed and packed once."""

import warnings

import numpy as np
import pytest
import torch

from exporters.captured import capture_source, tail_of
from exporters.conversion import Conversion
from exporters.crossing import measured_cuts, read_back
from exporters.entries import EntryPoints
from exporters.packing import Proof, pack
from exporters.parity import judge, reference
from exporters.progress import Quiet
from exporters.prove import Protocol, observe, size_of
from exporters.source import from_module
from exporters.target import Job, target
from headtail.preprocess import Preprocess
from quantizers.plan import Plan
from quantizers.recipe import recipe
from tests.exporters.nets import Residual, settle

PREPROCESS = Preprocess(
    32, 32, "RGB", "crop", 1.0, "bilinear", 1 / 255, (0.5,) * 3, (0.5,) * 3, "NCHW"
)


def photos(count, seed):
    """Gradients of different colours: smooth enough for JPEG, all different."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, 40)[:, None, None] * np.ones((40, 48, 3))
    ends = generator.integers(0, 255, (count, 2, 3))
    return [(a + (b - a) * ramp).astype(np.uint8) for a, b in ends]


@pytest.fixture(scope="session")
def photo_source():
    return from_module(
        settle(Residual()),
        (torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)),),
        name="residual",
        labels=["a", "b", "c", "d", "e"],
        preprocess=PREPROCESS,
        calibration=photos(5, 1),
        evaluation=photos(6, 2),
    )


@pytest.fixture(scope="session")
def captured(photo_source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("captured")
    made, remarks = capture_source(photo_source, folder, cuts=("stem", "block"))
    assert not remarks
    return made


@pytest.fixture(scope="session")
def tail(captured, photo_source):
    program, remarks = tail_of(photo_source, captured)
    assert not remarks
    return program


@pytest.fixture(scope="session")
def expected(captured, photo_source):
    return reference(captured.graph, photo_source.evaluation.samples, captured.cuts)


@pytest.fixture(scope="session")
def cuts(photo_source, captured, tail, expected, tmp_path_factory):
    read = read_back(tail, tmp_path_factory.mktemp("crossing"))
    return measured_cuts(photo_source, captured, read, expected, progress=Quiet())


@pytest.fixture(scope="session")
def litert_file(captured, tmp_path_factory):
    """`residual.fp32.tflite` by the real converter."""
    folder = tmp_path_factory.mktemp("litert")
    path = folder / "residual.fp32.tflite"
    inputs = captured.entries[0].inputs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what litert-torch's dependencies deprecate
        entries = EntryPoints.read(captured.program, captured.heads)
        target("litert").writer()(
            Job(Plan(recipe("fp32")), entries, entries, inputs, None, path, folder)
        )
    return path


@pytest.fixture(scope="session")
def observation(litert_file, captured, photo_source, tmp_path_factory):
    return observe(
        litert_file,
        ("litert", recipe("fp32")),
        captured.entries,
        photo_source.evaluation.samples,
        folder=tmp_path_factory.mktemp("observed"),
        protocol=Protocol(heads=4, warmup=0, runs=3),
    )


@pytest.fixture(scope="session")
def proof(litert_file, observation, captured, expected):
    aim = target("litert")
    return Proof(
        Conversion("litert", recipe("fp32"), litert_file, {}, None, 1.5, 10**9),
        captured.entries,
        size_of(litert_file),
        aim,
        judge(aim, "fp32", expected, observation.outputs, classifies=True),
        observation,
    )


@pytest.fixture(scope="session")
def litert_bundle(  # noqa: PLR0913, PLR0917  # a part each of what a bundle is made of
    proof, captured, tail, cuts, expected, photo_source, tmp_path_factory
):
    return pack(
        photo_source,
        [proof],
        destination=tmp_path_factory.mktemp("packed") / "residual.bundle",
        force=False,
        forward=captured.entries[0],
        tail=tail,
        cuts=cuts,
        expected=expected,
        golden_samples=4,
    )
