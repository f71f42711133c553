"""Core ML's description: written into a package, read back with coremltools' own messages."""

import json

import pytest

from exporters.metadata import Metadata
from exporters.metadata.coreml import describe
from headtail.preprocess import Preprocess
from headtail.strictjson import from_json, parse
from quantizers.coreml_file import MODEL
from quantizers.coreml_proto import proto

HOW = Preprocess(
    height=8,
    width=8,
    colour="RGB",
    fit="squash",
    crop_fraction=1.0,
    resize="bilinear",
    scale=1 / 255,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    layout="NCHW",
)


@pytest.fixture
def package(tmp_path):
    """Two functions and a program that holds one weight; nothing converted."""
    model = proto("Model_pb2").Model()
    model.specificationVersion = 9
    for name in ("forward", "head_a"):
        function = model.description.functions.add(name=name)
        function.input.add(name="image")
        function.output.add(name="scores" if name == "forward" else "features")
    model.description.metadata.userDefined["com.github.apple.coremltools.version"] = "9.0"
    model.mlProgram.version = 1
    (tmp_path / MODEL).parent.mkdir(parents=True)
    (tmp_path / MODEL).write_bytes(model.SerializeToString(deterministic=True))
    return tmp_path


def read(package):
    model = proto("Model_pb2").Model()
    model.ParseFromString((package / MODEL).read_bytes())
    return model


def test_everything_said_is_found(package):
    said = Metadata(
        "net",
        "a net",
        author="someone",
        licence="MIT",
        version="3",
        labels=("tench, Tinca tinca", "goldfish"),
        inputs={"image": "a picture"},
        outputs={"scores": "of two classes"},
        user={"dev.headtail.version": "0"},
        preprocess=HOW,
    )
    describe(package, said)
    found = read(package).description
    assert found.metadata.shortDescription == "a net"
    assert (found.metadata.author, found.metadata.license) == ("someone", "MIT")
    assert found.metadata.versionString == "3"
    user = dict(found.metadata.userDefined)
    assert json.loads(user["classes"]) == ["tench, Tinca tinca", "goldfish"]
    assert from_json(Preprocess, parse(user["dev.headtail.preprocess"].encode())) == HOW
    assert user["dev.headtail.version"] == "0"
    assert user["com.github.apple.coremltools.version"] == "9.0"  # the tool's own stays
    forward, head = found.functions
    assert [f.shortDescription for f in (*forward.input, *forward.output)] == [
        "a picture",
        "of two classes",
    ]
    assert [f.shortDescription for f in (*head.input, *head.output)] == ["a picture", ""]


def test_the_program_and_the_version_stay(package):
    before = read(package)
    describe(package, Metadata("net", "a net", outputs={"scores": "two"}))
    after = read(package)
    assert after.mlProgram == before.mlProgram
    assert after.specificationVersion == before.specificationVersion


def test_twice_is_as_once(package):
    out = {"scores": "two"}
    describe(package, Metadata("net", "a net", outputs=out, user={"b.c": "2", "a.b": "1"}))
    once = (package / MODEL).read_bytes()
    describe(package, Metadata("net", "a net", outputs=out, user={"a.b": "1", "b.c": "2"}))
    assert (package / MODEL).read_bytes() == once
