"""A stranger's program cannot write, read files, see old memory or smuggle source into torch.fx."""

import json

import pytest
import torch

from exporters.capture import capture_batched, flat_graph
from exporters.graphfile import TailProgram
from exporters.operators import check_keywords, resolve
from headtail.errors import BundleMismatch, SchemaFault
from headtail.strictjson import canonical_bytes
from tests.exporters.nets import Residual, settle

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    program = capture_batched(settle(Residual()), (IMAGE,))
    assert program is not None
    folder = tmp_path_factory.mktemp("tail")
    paths = folder / "program.json", folder / "weights.safetensors"
    TailProgram.of(flat_graph(program)).write(*paths)
    return paths


def entered(files, folder, change):
    body = json.loads(files[0].read_bytes())
    change(body)
    (folder / "program.json").write_bytes(canonical_bytes(body))
    program = TailProgram.read(folder / "program.json", files[1])
    return program.enter(program.input_names)


@pytest.mark.parametrize(
    "op",
    [
        "aten.from_file.default",  # reads a file
        "aten.set_data.default",
        "aten.add_.Tensor",  # writes to its argument
        "aten.add.out",
        "aten.empty.memory_format",  # returns what the process held there before
        "aten.empty_like.default",
        "aten.new_empty.default",
        "aten.empty_strided.default",
        "aten.resize.default",
        "aten.resize_as.default",
        "aten.sparse_resize.default",
        "aten.set.source_Storage_storage_offset",
        "aten.save.default",  # TorchScript's own: writes a file
        "aten.set_grad_enabled.default",
        "aten.manual_seed.default",
        "aten.warn.default",
        "aten.max_pool2d_with_indices_backward.default",  # trusts the indices it is given
        "aten._unsafe_index.Tensor",  # a kernel without bounds checks
        "aten.conv2d",
        "aten.__class__.default",
        "prim.device.default",
        "aten.conv2d.__call__",
        "eval",
    ],
)
def test_harmful_and_unknown_operators_are_refused(op):
    with pytest.raises(SchemaFault, match="may not stand in a program"):
        resolve(op)


@pytest.mark.parametrize(
    "op", ["aten.conv2d.default", "aten._to_copy.default", "aten.sym_size.int", "getitem"]
)
def test_what_capture_writes_is_taken(op):
    assert callable(resolve(op))


def test_keywords_are_the_schemas():
    check_keywords("aten.arange.default", ["dtype", "end"])
    with pytest.raises(SchemaFault, match="has no argument 'stop'"):
        check_keywords("aten.arange.default", ["stop"])
    with pytest.raises(SchemaFault, match="has no argument 'b'"):
        check_keywords("add", ["b"])


def test_a_keyword_cannot_carry_source_code(files, tmp_path):
    """torch.fx writes keywords verbatim into the module it compiles."""
    mark = tmp_path / "ran"
    attack = f"x=open({str(mark)!r}, 'w').close(), y"
    with pytest.raises(SchemaFault, match="has no argument"):
        entered(files, tmp_path, lambda body: body["calls"][-1].update(kwargs={attack: 1}))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["training", "forward", "a b", "import os", "weight_0", "é"])
def test_names_in_the_file_are_only_names(files, tmp_path, name):
    """A value may be called like a module's own attribute or like Python; nothing is shadowed."""

    def change(body):
        text = json.dumps(body)
        old = body["calls"][0]["name"]
        renamed = json.loads(text.replace(f'"{old}"', json.dumps(name)))
        body.clear()
        body.update(renamed)

    expected = entered(files, tmp_path, lambda body: None)(IMAGE)
    assert torch.equal(entered(files, tmp_path, change)(IMAGE)[0], expected[0])


@pytest.mark.parametrize("value", [[], {}, 3, None])
def test_a_reference_that_is_no_name_is_a_schema_fault(files, tmp_path, value):
    with pytest.raises((SchemaFault, BundleMismatch)):
        entered(
            files, tmp_path, lambda body: body["calls"][-1]["args"].__setitem__(0, {"value": value})
        )


def test_a_string_argument_is_data(files, tmp_path):
    def change(body):
        body["calls"][-1]["args"].append("'); raise SystemExit(1); ('")

    with pytest.raises((RuntimeError, TypeError)):  # torch refuses the argument itself
        entered(files, tmp_path, change)(IMAGE)
