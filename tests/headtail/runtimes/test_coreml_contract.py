"""A real Core ML file, as the exporter writes it, through the real bridge.

The framework between them is a stand-in whose sums the reference interpreter does: what is proven
is the bridge, the names and the order of several functions' tensors; not Apple's framework. On a
Mac the same tests run against that; nobody has done it yet.
"""

import gc
import shutil
import sys

import pytest

from headtail.errors import ConversionFailed, IntegrityFault
from headtail.metrics import snr_db
from headtail.runtimes.coreml_bridge import CoreMLBridge
from headtail.runtimes.coreml_desk import CoreMLDesk, open_by_coremltools
from headtail.runtimes.coreml_package import read_functions
from tests.coreml_fake import interpreted
from tests.coreml_fake.framework import FakeCoreML, built, built_for_apple
from tests.exporters.converted import converted
from tests.headtail.runtimes import session_contract as contract

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return converted(tmp_path_factory.getbasetemp(), "coreml", "Ordered")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    if sys.platform == "darwin":  # then it is Apple's framework that is tested
        yield CoreMLBridge(built_for_apple(tmp_path_factory.mktemp("bridge")))
        return
    fake = FakeCoreML(built(tmp_path_factory.getbasetemp()))
    fake.interpret(interpreted.describe, interpreted.compute)
    yield CoreMLBridge(fake.library, cache=tmp_path_factory.mktemp("caches"))
    gc.collect()
    assert fake.alive() == 0


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_session_keeps_the_contract(runtime, made, check):
    check(runtime, made)


class Interpreted:
    """Stands in for `coremltools.models.MLModel`, which predicts on a Mac only."""

    def __init__(self, path, function, units):
        self.path, self.function = path, function
        interpreted.describe(path, function)

    def predict(self, data):
        results = interpreted.compute(self.path, self.function, data)
        outputs = interpreted.describe(self.path, self.function)["outputs"]
        return {one["name"]: array for one, array in zip(outputs, results, strict=True)}


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_desks_session_keeps_the_contract(made, check):
    check(CoreMLDesk(None if sys.platform == "darwin" else Interpreted), made)


@pytest.mark.skipif(sys.platform == "darwin", reason="there it predicts")
def test_coremltools_takes_what_the_desk_asks_for(made):
    """Elsewhere than on a Mac it opens a function, and says so when it is to predict."""
    session = CoreMLDesk(open_by_coremltools).load(made.path, entries=made.entries)
    with pytest.raises(ConversionFailed, match=r"head_conv: .*(macOS|CoreML\.framework)"):
        session.run("head_conv", made.inputs)
    with pytest.raises(IntegrityFault, match=r"cannot open net.mlpackage: .*head_absent"):
        open_by_coremltools(made.path, "head_absent", "CPU_ONLY")


def test_the_file_keeps_the_order_that_core_ml_forgets(made):
    functions = read_functions(made.path)
    assert list(functions) == ["forward", "head_conv", "head_mean"]
    assert functions["forward"].function is None
    assert functions["forward"].inputs == ("zeta", "alpha", "middle")
    assert functions["forward"].outputs == ("linear_1", "add", "mean")
    assert functions["head_conv"].outputs == ("alpha", "middle", "conv2d")


def test_broken_packages_are_named(runtime, made, tmp_path):
    """What the reader does not notice, the framework's own check does."""
    model = "Data/com.apple.CoreML/model.mlmodel"
    data = (made.path / model).read_bytes()
    contents = {"empty": b"", "cut": data[: len(data) // 2], "text": b"not a model at all" * 100}
    for name, content in contents.items():
        path = shutil.copytree(made.path, tmp_path / f"{name}.mlpackage")
        (path / model).write_bytes(content)
        with pytest.raises(IntegrityFault, match=path.name) as caught:
            runtime.load(path, entries=made.entries)
        assert caught.value.file == path.name
    with pytest.raises(IntegrityFault, match="absent"):
        runtime.load(tmp_path / "absent.mlpackage", entries={})


@pytest.mark.parametrize("name", ["HalfInput", "Tokens"])
def test_files_of_other_types_answer_as_pytorch_does(runtime, tmp_path_factory, name):
    other = converted(tmp_path_factory.getbasetemp(), "coreml", name)
    session = runtime.load(other.path, entries=other.entries)
    for entry in other.entries:
        for right, seen in zip(
            other.expected(entry), session.run(entry, other.inputs), strict=True
        ):
            assert seen.dtype == right.dtype
            assert snr_db(reference=right, candidate=seen) > 50  # float16 has 66 dB at best
    session.close()
