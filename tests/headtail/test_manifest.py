"""The manifest: its canonical bytes, its seal, its look-ups, and versions other than ours."""

import dataclasses
import hashlib
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headtail.errors import IntegrityFault, SchemaFault, UnknownName
from headtail.manifest import (
    FORWARD,
    MAX_PATH,
    SCHEMA_VERSION,
    Agreement,
    Artifact,
    Coverage,
    Cut,
    Entry,
    FileRecord,
    LeftOver,
    Manifest,
    QuantTable,
    SampleSet,
    Tail,
    head_entry,
    is_plain_path,
)
from headtail.preprocess import Preprocess
from headtail.tensors import TensorSpec
from tests.support.sealing import sealed

IMAGE = TensorSpec("x", "f32", (1, 3, 2, 2))
SCORES = TensorSpec("y", "f32", (1, 2))
EDGE = TensorSpec("relu", "f32", (1, 1))
SMALL = Manifest(
    schema_version=SCHEMA_VERSION,
    bundle_id="",
    name="small",
    source="Python",
    task="classification",
    labels=("ja", "nö"),
    preprocess=Preprocess(
        2, 2, "RGB", "crop", 1.0, "bilinear", 0.5, (0.0,) * 3, (1.0,) * 3, "NCHW"
    ),
    inputs=(IMAGE,),
    outputs=(SCORES,),
    artifacts=(
        Artifact(
            path="a.tflite",
            format="litert",
            precision="fp32",
            bytes=3,
            entries=(
                Entry(FORWARD, (IMAGE,), (SCORES,)),
                Entry(head_entry("c"), (IMAGE,), (EDGE,)),
            ),
            runtime="LiteRT",
            minimum_runtime="",
            agreement=Agreement(1, None, None, None, 99.5, 99.0),
            verdict="pass",
            dtypes={"f32": 4},
            rewrites={"fold_batch_norm": 3},
            coverage=Coverage("XNNPACK", 0.99, 2, (LeftOver("aten.roll", "blocks.1", 4),)),
            calibration=None,
            splits={"c": {"raw32": Agreement(1, 1.0, 0.25, 1.0, 60.5, 60.0)}},
        ),
    ),
    cuts=(
        Cut(
            id="c",
            node="relu",
            tensors=(EDGE,),
            per_tensor=(QuantTable((0.0,), (6.0,)),),
            per_channel=(QuantTable((0.0,), (6.0,)),),
            wire_bytes={"raw32": 4},
            head_flops=0.25,
            materialised=True,
            fidelity={"raw32": Agreement(1, None, None, None, 400.0, 400.0)},
        ),
    ),
    tails=(Tail("p.json", "w.safetensors"),),
    golden="g.safetensors",
    calibration=None,
    evaluation=SampleSet("here", 1, 7, "0" * 64),
    tool_versions={"headtail": "0.1.0"},
    recipes={"fp32": {"name": "fp32"}},
    files={
        name: FileRecord("0" * 64, 3)
        for name in ("a.tflite", "g.safetensors", "p.json", "w.safetensors")
    },
)
# Written by hand, a key a line; joined it is the file. Whoever changes it changes the format.
GOLDEN = "".join(
    [
        '{"artifacts":[{',
        '"agreement":{"high":null,"low":null,"n":1,"snr_db_mean":99.5,"snr_db_min":99.0,"top1":null},',
        '"bytes":3,"calibration":null,',
        '"coverage":{"delegate":"XNNPACK","left":[{"count":4,"module":"blocks.1","op":"aten.roll"}],',
        '"mac_share":0.99,"partitions":2},',
        '"dtypes":{"f32":4},',
        '"entries":[',
        '{"inputs":[{"dtype":"f32","name":"x","shape":[1,3,2,2]}],"name":"forward",',
        '"outputs":[{"dtype":"f32","name":"y","shape":[1,2]}],"ranges":[]},',
        '{"inputs":[{"dtype":"f32","name":"x","shape":[1,3,2,2]}],"name":"head_c",',
        '"outputs":[{"dtype":"f32","name":"relu","shape":[1,1]}],"ranges":[]}],',
        '"format":"litert",',
        '"minimum_runtime":"",',
        '"path":"a.tflite",',
        '"precision":"fp32",',
        '"rewrites":{"fold_batch_norm":3},',
        '"runtime":"LiteRT",',
        '"splits":{"c":{"raw32":{"high":1.0,"low":0.25,"n":1,',
        '"snr_db_mean":60.5,"snr_db_min":60.0,"top1":1.0}}},',
        '"verdict":"pass"}],',
        '"bundle_id":"BUNDLE_ID",',
        '"calibration":null,',
        '"cuts":[{"fidelity":{"raw32":{"high":null,"low":null,"n":1,',
        '"snr_db_mean":400.0,"snr_db_min":400.0,"top1":null}},',
        '"head_flops":0.25,"id":"c","materialised":true,"node":"relu",',
        '"per_channel":[{"high":[6.0],"low":[0.0]}],',
        '"per_tensor":[{"high":[6.0],"low":[0.0]}],',
        '"tensors":[{"dtype":"f32","name":"relu","shape":[1,1]}],',
        '"wire_bytes":{"raw32":4}}],',
        '"evaluation":{"count":1,"seed":7,"sha256":"', "0" * 64, '","source":"here"},',
        '"files":{',
        '"a.tflite":{"sha256":"', "0" * 64, '","size":3},',
        '"g.safetensors":{"sha256":"', "0" * 64, '","size":3},',
        '"p.json":{"sha256":"', "0" * 64, '","size":3},',
        '"w.safetensors":{"sha256":"', "0" * 64, '","size":3}},',
        '"golden":"g.safetensors",',
        '"inputs":[{"dtype":"f32","name":"x","shape":[1,3,2,2]}],',
        '"labels":["ja","nö"],',
        '"name":"small",',
        '"outputs":[{"dtype":"f32","name":"y","shape":[1,2]}],',
        '"preprocess":{"colour":"RGB","crop_fraction":1.0,"fit":"crop","height":2,',
        '"layout":"NCHW","mean":[0.0,0.0,0.0],"resize":"bilinear","scale":0.5,',
        '"std":[1.0,1.0,1.0],"width":2},',
        '"recipes":{"fp32":{"name":"fp32"}},',
        '"schema_version":4,',
        '"source":"Python",',
        '"tails":[{"program":"p.json","weights":"w.safetensors"}],',
        '"task":"classification",',
        '"tool_versions":{"headtail":"0.1.0"}}',
    ]
)  # fmt: skip


def test_the_canonical_bytes():
    blank = GOLDEN.replace("BUNDLE_ID", "").encode()
    assert SMALL.to_bytes() == blank
    digest = hashlib.sha256(blank).hexdigest()
    assert SMALL.sealed().to_bytes() == GOLDEN.replace("BUNDLE_ID", digest).encode()


def test_reading_gives_back_what_was_sealed():
    whole = SMALL.sealed()
    assert Manifest.from_bytes(whole.to_bytes()) == whole


def test_sealing_forgets_the_old_seal():
    whole = SMALL.sealed()
    assert whole.sealed() == whole
    renamed = dataclasses.replace(whole, name="other").sealed()
    assert renamed.bundle_id != whole.bundle_id
    assert Manifest.from_bytes(renamed.to_bytes()).name == "other"


def test_a_seal_that_is_not_renewed_is_noticed():
    stale = dataclasses.replace(SMALL.sealed(), name="other")
    with pytest.raises(IntegrityFault, match=stale.bundle_id) as caught:
        Manifest.from_bytes(stale.to_bytes())
    assert caught.value.file == "manifest.json"


def test_every_changed_byte_is_noticed():
    data = SMALL.sealed().to_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(IntegrityFault):
            Manifest.from_bytes(bytes(changed))


def resealed(**changes):
    return sealed({**json.loads(SMALL.to_bytes()), **changes})


@pytest.mark.parametrize(
    ("version", "remedy"),
    [(SCHEMA_VERSION + 1, "Update Headtail"), (SCHEMA_VERSION - 1, "Export the bundle again")],
)
def test_another_version(version, remedy):
    with pytest.raises(SchemaFault, match=rf"{version} is not {SCHEMA_VERSION}") as caught:
        Manifest.from_bytes(resealed(schema_version=version, added_since=True))
    assert caught.value.path == "$.schema_version"
    assert remedy in caught.value.remedy


def test_a_rule_of_a_part_is_a_schema_fault_with_its_place():
    wrong = [{"name": "x", "dtype": "f32", "shape": [1, -3]}]
    with pytest.raises(SchemaFault, match=r"shape \[1, -3\] @ \$\.inputs\[0\]\."):
        Manifest.from_bytes(resealed(inputs=wrong))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"golden": "absent"}, "'absent' has no record"),
        ({"tails": [{"program": "p.json", "weights": "absent"}]}, "'absent' has no record"),
        ({"files": {"a/b": {"sha256": "", "size": 0}}}, "has no record"),
        ({"files": {"../a": {"sha256": "", "size": 0}}}, "'../a' is not plain"),
    ],
)
def test_files_that_are_named_must_be_promised(changes, words):
    with pytest.raises(SchemaFault) as caught:
        Manifest.from_bytes(resealed(**changes))
    assert words in caught.value.what
    assert caught.value.path == "$.files"


def test_an_artifact_may_be_a_folder():
    record = {"sha256": "0" * 64, "size": 3}
    files = dict.fromkeys(("g.safetensors", "p.json", "w.safetensors"), record)
    inside = {**files, "a.tflite/weights/w.bin": record}
    assert Manifest.from_bytes(resealed(files=inside)).artifacts[0].path == "a.tflite"
    beside = {**files, "a.tflite2/w.bin": record}
    with pytest.raises(SchemaFault, match=r"'a\.tflite' has no record"):
        Manifest.from_bytes(resealed(files=beside))


def test_look_ups():
    assert SMALL.cut("c") is SMALL.cuts[0]
    artifact = SMALL.artifact("litert", "fp32")
    assert artifact is SMALL.artifacts[0]
    assert artifact.entry("head_c").outputs == SMALL.cut("c").tensors


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (lambda m: m.cut("d"), r"Unknown cut of small 'd'\. Known: c\."),
        (lambda m: m.artifact("litert", "fp23"), r"'litert\.fp23'.*Did you mean 'litert\.fp32'"),
        (lambda m: m.artifact("fp32", "litert"), r"Known: litert\.fp32"),
        (
            lambda m: m.artifacts[0].entry("foward"),
            r"entry point of a\.tflite 'foward'.*forward, head_c.*Did you mean 'forward'",
        ),
    ],
)
def test_look_ups_of_what_is_not_there_list_what_is(look, words):
    with pytest.raises(UnknownName, match=words):
        look(SMALL)


plain = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}(/[A-Za-z0-9][A-Za-z0-9._-]{0,20}){0,3}")


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=12) | plain)
@example("a\n")
@example("a/")
@example("..")
def test_a_plain_path_stays_inside_on_every_system(path):
    if is_plain_path(path):
        assert path.isascii()
        assert path.isprintable()
        assert not set(path) & set('\\:*?"<>| ')
        assert all(part[0].isalnum() for part in path.split("/"))


def test_plain_paths():
    assert is_plain_path("artifacts/net.fp32.mlpackage/Data/weight.bin")
    assert is_plain_path("x" * MAX_PATH)
    assert not is_plain_path("x" * (MAX_PATH + 1))
