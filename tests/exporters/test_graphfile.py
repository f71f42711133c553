"""A tail on disk: no pickle, enters anywhere, any batch, refuses what is not an ATen call."""

import json

import numpy as np
import pytest
import torch

from exporters.capture import capture, capture_batched, flat_graph
from exporters.graphfile import TailProgram
from exporters.splitting import cut_points, head_graph
from headtail.errors import BundleMismatch, SchemaFault, SourceFault
from headtail.strictjson import canonical_bytes
from tests.exporters.nets import Residual, TwoOutputs, settle

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def batched(model):
    program = capture_batched(model, (IMAGE,))
    assert program is not None
    return flat_graph(program)


@pytest.fixture(scope="module", params=[Residual, TwoOutputs])
def written(request, tmp_path_factory):
    model = settle(request.param())
    folder = tmp_path_factory.mktemp("tail")
    paths = folder / "program.json", folder / "weights.safetensors"
    TailProgram.of(batched(model)).write(*paths)
    return model, paths


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def test_entered_at_every_cut_it_continues_the_head_bit_for_bit(written):
    model, paths = written
    program = TailProgram.read(*paths)
    graph = flat_graph(capture(model, (IMAGE,)))
    for cut in cut_points(graph, (IMAGE,)):
        tail = program.enter([spec.name for spec in cut.tensors])
        outputs = tail(*head_graph(graph, cut)(IMAGE))
        for right, seen in zip(as_tuple(model(IMAGE)), outputs, strict=True):
            assert torch.equal(right, seen), cut.id


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_batch_axis_is_free(written, batch):
    model, paths = written
    program = TailProgram.read(*paths)
    rows = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(batch))
    outputs = program.enter(program.input_names)(rows)
    for right, seen in zip(as_tuple(model(rows)), outputs, strict=True):
        torch.testing.assert_close(right, seen)


def test_segments_from_cut_to_cut_are_the_whole_bit_for_bit(written):
    model, paths = written
    program = TailProgram.read(*paths)
    cuts = cut_points(flat_graph(capture(model, (IMAGE,))), (IMAGE,))
    ends = [[spec.name for spec in cut.tensors] for cut in cuts]
    assert len(ends) > 1
    values = (IMAGE,)
    for here, there in zip([program.input_names, *ends], [*ends, None], strict=True):
        values = program.enter(here, until=there)(*values)
    for right, seen in zip(as_tuple(model(IMAGE)), values, strict=True):
        assert torch.equal(right, seen)


def test_segments_share_the_programs_weights(written):
    program = TailProgram.read(*written[1])
    places = [
        {buffer.data_ptr() for buffer in program.enter(program.input_names).buffers()}
        for _ in range(2)
    ]
    assert places[0] == places[1]


def test_later_cuts_have_fewer_calls_to_go(written):
    model, paths = written
    program = TailProgram.read(*paths)
    cuts = cut_points(flat_graph(capture(model, (IMAGE,))), (IMAGE,))
    left = [program.calls_after([spec.name for spec in cut.tensors]) for cut in cuts]
    assert left == sorted(left, reverse=True)
    assert program.calls_after(program.input_names) > left[0]


def test_a_value_that_lies_before_the_boundary_is_refused(written):
    model, paths = written
    program = TailProgram.read(*paths)
    cuts = cut_points(flat_graph(capture(model, (IMAGE,))), (IMAGE,))
    last = [spec.name for spec in cuts[-1].tensors]
    with pytest.raises(BundleMismatch, match="What follows needs"):
        program.enter(last, until=[spec.name for spec in cuts[0].tensors])


def test_same_program_same_bytes(written, tmp_path):
    model, paths = written
    again = tmp_path / "program.json", tmp_path / "weights.safetensors"
    TailProgram.of(batched(model)).write(*again)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in paths]


def test_a_boundary_that_lacks_a_value_is_refused(written):
    program = TailProgram.read(*written[1])
    with pytest.raises(BundleMismatch, match="not among the boundary tensors"):
        program.enter(program.output_names[:0] or ["nothing"])


def changed(paths, folder, change):
    body = json.loads(paths[0].read_bytes())
    change(body)
    program = folder / "program.json"
    program.write_bytes(canonical_bytes(body))
    return program, paths[1]


@pytest.mark.parametrize(
    "operator",
    [
        "os.system",
        "aten.from_file.default",
        "aten.add_.Tensor",
        "aten.nothing.default",
        "__import__",
    ],
)
def test_an_operator_that_could_do_harm_is_refused(written, tmp_path, operator):
    def change(body):
        body["calls"][-1]["op"] = operator

    program = TailProgram.read(*changed(written[1], tmp_path, change))
    with pytest.raises(SchemaFault, match="may not stand in a program"):
        program.enter(program.input_names)


@pytest.mark.parametrize("argument", [{"eval": "1"}, {"dtype": "nn"}, {"value": "absent"}, {}])
def test_an_argument_that_is_no_value_is_refused(written, tmp_path, argument):
    def change(body):
        body["calls"][-1]["args"][0] = argument

    program = TailProgram.read(*changed(written[1], tmp_path, change))
    with pytest.raises((SchemaFault, BundleMismatch)):
        program.enter(program.input_names)


def test_a_newer_program_is_refused(written, tmp_path):
    paths = changed(written[1], tmp_path, lambda body: body.update(schema_version=2))
    with pytest.raises(SchemaFault, match="Schema version 2 is not 1"):
        TailProgram.read(*paths)


def test_control_flow_is_refused_with_a_remedy():
    class Branches(torch.nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda v: v + 1, lambda v: v - 1, (x,))

    graph = flat_graph(capture(Branches().eval(), (IMAGE,)))
    with pytest.raises(SourceFault, match="control-flow"):
        TailProgram.of(graph)


def test_nothing_in_the_files_is_pickle(written):
    for path in written[1]:
        data = path.read_bytes()
        assert not data.startswith((b"\x80", b"PK"))
        assert np.frombuffer(data[:1], np.uint8)[0] != 0x80
