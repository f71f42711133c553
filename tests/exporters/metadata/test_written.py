"""Files of a real net, each written by two processes that hash differently.

Equal bytes, and documentation that the ecosystem's own reader finds. Each file is run by its
runtime, as proof that it still loads.
"""

import io
import json
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporters.metadata import Metadata
from exporters.metadata.documenting import metadata_of
from exporters.processes import run_worker
from exporters.runtimes import runtime_for
from exporters.target import TARGETS, target
from exporters.worker import ConvertRequest
from headtail.metrics import snr_db
from headtail.preprocess import Preprocess
from headtail.strictjson import from_json, parse
from quantizers.coreml_file import read_spec
from quantizers.recipe import RECIPES
from tests.exporters.conftest import PREPROCESS
from tests.exporters.converter_contract import contents

pytestmark = [
    pytest.mark.slow,
    # what executorch's own imports say of themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This API is experimental"),
]
SEEDS = ("1", "2")


@pytest.fixture(scope="module")
def said(captured, photo_source):
    return metadata_of(photo_source, captured.entries[0], digest="0" * 64)


@pytest.fixture(scope="module")
def written(captured, said, tmp_path_factory):
    """`written(format)`: the paths of both, made when first asked for."""
    made = {}

    def once(format_name):
        if format_name not in made:
            made[format_name] = [write(format_name, seed) for seed in SEEDS]
        return made[format_name]

    def write(format_name, seed):
        folder = tmp_path_factory.mktemp(f"{format_name}-{seed}")
        path = folder / f"residual.fp32.{target(format_name).suffix}"
        request = ConvertRequest(
            format_name,
            (RECIPES["fp32"],),
            (str(path),),
            str(captured.program),
            dict([next(iter(captured.heads.items()))]),  # one head is enough to share weights with
            captured.entries[0].inputs,
            None,
            str(folder / "scratch"),
            said,
        )
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PYTHONHASHSEED", seed)
            events = run_worker(request, folder / "work")
        assert [event["event"] for event in events] == ["started", "converted"], events
        return path

    return once


@pytest.mark.parametrize("format_name", TARGETS)
def test_the_same_program_has_the_same_bytes_in_every_process(written, format_name):
    first, second = written(format_name)
    assert contents(first) == contents(second)


@pytest.mark.parametrize("format_name", TARGETS)
def test_it_still_answers_as_pytorch_does(written, captured, photo_source, expected, format_name):
    entries = {entry.name: (entry.inputs, entry.outputs) for entry in captured.entries[:2]}
    session = runtime_for(format_name).load(written(format_name)[0], entries=entries)
    (sample, *_) = photo_source.evaluation.samples
    (scores,) = session.run("forward", list(sample))
    right = np.asarray(expected.outputs[0][0])
    assert snr_db(reference=right, candidate=scores) >= target(format_name).fp32_gate_db
    session.close()


def test_litert(written, said):
    content = written("litert")[0].read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    entries = {entry.name: entry.buffer for entry in model.metadata}
    packed = bytes(bytearray(model.buffers[entries[b"TFLITE_METADATA"]].data))
    assert packed[4:8] == b"M001"
    assert said.description.encode() in packed
    # stamped by the converter, and what `minimum_runtime_version` of a runtime is compared with
    assert b"min_runtime_version" in entries
    labels = zipfile.ZipFile(io.BytesIO(content)).read("labels.txt").decode()
    assert tuple(labels.splitlines()) == said.labels


def test_core_ml(written, said):
    spec = read_spec(written("coreml")[0])
    metadata = spec.description.metadata
    assert metadata.shortDescription == said.description
    user = dict(metadata.userDefined)
    assert json.loads(user["classes"]) == list(said.labels)
    assert from_json(Preprocess, parse(user["dev.headtail.preprocess"].encode())) == PREPROCESS
    assert user["dev.headtail.origin"] == "Python"
    assert spec.specificationVersion == 9  # iOS 18
    forward = next(f for f in spec.description.functions if f.name == "forward")
    assert "RGB picture, crop to 32x32" in forward.input[0].shortDescription
    assert "each of 5 classes" in forward.output[0].shortDescription


def test_executorch(written, said):
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(written("executorch")[0])

    def answer(name):
        (value,) = program.load_method(name).execute([])
        return value

    assert answer("headtail_classes") == 5
    assert answer("headtail_description") == said.description
    assert from_json(Metadata, parse(answer("headtail_manifest").encode())) == said
    assert from_json(Preprocess, parse(answer("headtail_preprocess").encode())) == PREPROCESS
