"""A stranger's program: whatever is changed in its two files, it is read right or refused in words.

`mutated` is also what the long runs use; see the issue's notes for their counts.
"""

import copy
import json
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.capture import capture_batched, flat_graph
from exporters.graphfile import TailProgram
from headtail.errors import BundleMismatch, HeadtailError, SchemaFault
from headtail.strictjson import canonical_bytes
from tests.exporters.nets import Residual, settle

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
OPERATORS = [
    "aten.relu.default",
    "aten.add.Tensor",
    "aten.cat.default",
    "aten.reshape.default",
    "aten.as_strided.default",
    "aten.zeros.default",
    "aten.resize.default",
    "aten.save.default",
    "aten.from_file.default",
    "aten.add_.Tensor",
    "aten.__init__.default",
    "aten..",
    "os.system",
    "getitem",
    "mul",
    "batch",
    "",
]
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    1e308,
    "",
    "x",
    "__import__('os').system('false')",
    "\ud800",
    "\x00\n'\"\\",
    [],
    {},
    [[[[]]]],
    {"value": "x"},
    {"value": ["x"]},
    {"dtype": "float32"},
    {"dtype": "_dynamo"},
    {"dtype": "Tensor"},
    {"memory_format": "channels_last"},
    {"float": "inf"},
    {"float": ["inf"]},
    {"eval": "1"},
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    program = capture_batched(settle(Residual()), (IMAGE,))
    assert program is not None
    folder = tmp_path_factory.mktemp("tail")
    paths = folder / "program.json", folder / "weights.safetensors"
    TailProgram.of(flat_graph(program)).write(*paths)
    return paths[0].read_bytes(), paths[1].read_bytes()


def places(value, path=()):
    """Every place in a nest of lists and objects."""
    yield path
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def places_of(body):
    return [path for path in places(body) if path]


def change(body, chance):
    """Change one place of a program: another value, another's value, gone, or twice."""
    path = chance.choice(places_of(body))
    holder = body
    for key in path[:-1]:
        holder = holder[key]
    kind = chance.randrange(6)
    if kind == 0:
        del holder[path[-1]]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(path[-1], copy.deepcopy(holder[path[-1]]))
    elif kind == 2 and isinstance(body.get("calls"), list) and body["calls"]:
        call = chance.choice(body["calls"])
        if isinstance(call, dict):
            call["op"] = chance.choice(OPERATORS)
    elif kind == 3:
        other = body
        for key in chance.choice(places_of(body)):
            other = other[key]
        holder[path[-1]] = copy.deepcopy(other)
    else:
        holder[path[-1]] = copy.deepcopy(chance.choice(VALUES))


def changed_bytes(data, chance):
    """Some bytes changed, cut off, or added."""
    held = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(held) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            del held[at:]
        elif kind == 1:
            held[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif held:
            held[min(at, len(held) - 1)] = chance.randrange(256)
    return bytes(held)


def mutated(program, weights, chance):
    """The two files with something wrong in one of them, and a boundary to enter it at."""
    body = json.loads(program)
    names = [call["name"] for call in body["calls"]] + body["inputs"] + ["nothing"]
    boundary = chance.choices(names, k=chance.randrange(3)) or list(body["inputs"])
    until = chance.choice([None, chance.choices(names, k=chance.randrange(3))])
    kind = chance.randrange(4)
    if kind == 0:
        return changed_bytes(program, chance), weights, boundary, until
    if kind == 1:
        return program, changed_bytes(weights, chance), boundary, until
    for _ in range(chance.randrange(1, 5)):
        if body:
            change(body, chance)
    # as a stranger may write it: not by the canonical writer, which refuses some values
    text = json.dumps(body).encode() if kind == 2 else json.dumps(body, ensure_ascii=False)
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return data, weights, boundary, until


def read_and_enter(folder, program, weights, boundary, until):
    """Everything a server does with the files before it runs them."""
    paths = folder / "program.json", folder / "weights.safetensors"
    for path, data in zip(paths, (program, weights), strict=True):
        path.write_bytes(data)
    held = TailProgram.read(*paths)
    modules = []
    for entry, end in ((held.input_names, None), (boundary, until)):
        held.calls_after(entry)
        modules.append(held.enter(entry, until=end))
    return modules


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32))
def test_attack_whatever_is_changed_is_refused_in_words(files, tmp_path_factory, seed):
    program, weights, boundary, until = mutated(files[0], files[1], random.Random(seed))
    said = ""
    try:
        read_and_enter(tmp_path_factory.getbasetemp(), program, weights, boundary, until)
    except HeadtailError as error:
        said = str(error)
    assert len(said) < 5000


def refused(files, tmp_path, edit, match):
    body = json.loads(files[0])
    edit(body)
    with pytest.raises((SchemaFault, BundleMismatch), match=match):
        read_and_enter(tmp_path, canonical_bytes(body), files[1], body["inputs"], None)


def test_attack_two_values_of_one_name(files, tmp_path):
    def edit(body):
        body["calls"][1]["name"] = body["calls"][0]["name"]

    refused(files, tmp_path, edit, "names two values")


def test_attack_a_call_named_as_a_weight(files, tmp_path):
    def edit(body):
        body["calls"][0]["name"] = body["weights"][0]

    refused(files, tmp_path, edit, "names two values")


def test_attack_a_program_of_itself(files, tmp_path):
    def edit(body):
        body["calls"][0]["args"] = [{"value": body["calls"][-1]["name"]}]

    refused(files, tmp_path, edit, "not understood")


def test_attack_no_inputs(files, tmp_path):
    refused(files, tmp_path, lambda body: body.update(inputs=[]), "inputs and outputs")


def test_attack_more_calls_than_a_server_has_time_for(files, tmp_path):
    def edit(body):
        more = {"op": "batch", "args": [], "kwargs": {}}
        body["calls"] += [{**more, "name": f"again_{i}"} for i in range(25_000)]

    refused(files, tmp_path, edit, "calls are more than 25000")


def test_attack_a_program_of_many_bytes(files, tmp_path):
    program = b" " * (17 << 20)
    with pytest.raises(SchemaFault, match="more than 16777216 bytes"):
        read_and_enter(tmp_path, program, files[1], ["x"], None)


@pytest.mark.parametrize("boundary", [[], ["x", "x"]])
def test_attack_a_boundary_of_nothing_or_twice_the_same(files, tmp_path, boundary):
    with pytest.raises(BundleMismatch, match="The boundary is"):
        read_and_enter(tmp_path, files[0], files[1], boundary, None)


def test_attack_a_dtype_that_is_a_lazy_module_of_torch(files, tmp_path):
    def edit(body):
        body["calls"][-1]["args"][0] = {"dtype": "_dynamo"}

    refused(files, tmp_path, edit, "not understood")


@pytest.mark.parametrize("args", [[], [2], [2, 2, 2], ["x", 10**12], [[0], 10**12], [2, None]])
def test_attack_arithmetic_on_what_is_no_size(files, tmp_path, args):
    def edit(body):
        body["calls"][0] |= {"op": "mul", "args": args, "kwargs": {}}

    refused(files, tmp_path, edit, "not 2 sizes")
