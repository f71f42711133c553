"""A report with everything in it, and a UI thread that is the test."""

import pytest

from app.benchmark.bench import Bench, Course
from app.report.contents import (
    SCHEMA_VERSION,
    BundleFacts,
    LiveFacts,
    OffloadFacts,
    Report,
    RuntimeFacts,
    Way,
    software,
)
from tests.app.benchmark.conftest import Toaster, Ui
from tests.app.benchmark.echo import EchoRuntime
from tests.support.bundles import tiny_bundle

LOST = (
    "Nothing answers at https://192.168.1.20:8707. A companion server listens there. Check that"
    " alices-desk.local:8707 is on, or pair again with headtail://pair?url=x&token=s3cr3t-t0ken."
)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("report")).path


@pytest.fixture(scope="session")
def run(bundle):
    bench = Bench(lambda: (EchoRuntime(bundle),), Toaster())
    survey = bench.survey([bundle])
    return bench.run(survey, survey.matrix.cells, Course.usual(3, cool_down_s=0.0))


@pytest.fixture
def report(run):
    machine = Toaster()
    return Report(
        schema_version=SCHEMA_VERSION,
        made_at="2026-11-22T00:45:01.123+00:00",
        machine=machine.facts(),
        condition=machine.condition(),
        software=software(),
        runtimes=(
            RuntimeFacts("echo", "litert", "9.9", ""),
            RuntimeFacts("coreml", "coreml", "", "only on Apple devices"),
        ),
        bundle=BundleFacts("tiny", "ab" * 32, "litert", "fp32", 25, 1.0, 0.34, 1.0, 2, 110.0),
        benchmark=run,
        live=LiveFacts(120, 12.34, 20.0, 41.5, "local"),
        offload=OffloadFacts("auto", (Way("local (server lost)", 7, LOST),), ""),
    )


@pytest.fixture
def ui():
    return Ui()
