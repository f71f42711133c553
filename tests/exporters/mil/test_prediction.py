"""Predicting by names: images, classifiers, optional inputs, open shapes, states, functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from exporters.mil import MilRuntime
from exporters.mil.prediction import Model
from headtail.errors import ImageFault, TensorMismatch, UnknownName
from headtail.tensors import TensorSpec

from .conftest import export, quiet
from .handmade import Code, Op, Writer, counting_code

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
PHOTO = Image.fromarray(PIXELS)


def described(path: Path, code: Code, *, optional: str = "") -> Path:
    """A package whose description has the function's inputs and outputs."""
    writer = Writer()
    writer.function("main", code)
    for name, _, shape in code.inputs:
        feature = writer.model.description.input.add(name=name)
        feature.type.multiArrayType.shape.extend(shape)
        if name == optional:
            feature.type.isOptional = True
            feature.type.multiArrayType.floatDefaultValue = 3.0
    for name in code.outputs:
        writer.model.description.output.add(name=name).type.multiArrayType.SetInParent()
    return writer.write(path / "net.mlpackage")


def added() -> Code:
    op = Op("add", {"x": "a", "y": "b"}, [("y", "fp32", [2])])
    return Code([("a", "fp32", [2]), ("b", "fp32", [2])], ["y"], [op])


def test_an_optional_input_has_its_default(tmp_path: Path) -> None:
    model = Model(described(tmp_path, added(), optional="b"))
    assert model.predict({"a": [1.0, 2.0]})["y"].tolist() == [4, 5]
    assert model.predict({"b": np.zeros(2), "a": np.ones(2)})["y"].tolist() == [1, 1]
    with pytest.raises(TensorMismatch, match="'a' is not given"):
        model.predict({"b": [1.0, 2.0]})
    with pytest.raises(UnknownName, match=r"Unknown input 'c'\. Known: a, b"):
        model.predict({"c": [1.0, 2.0]})
    with pytest.raises(
        TensorMismatch, match=r"'a' has shape \[3\]. The program declares fp32\[2\]"
    ):
        model.predict({"a": np.zeros(3)})
    with pytest.raises(TensorMismatch, match="'a' is <U1"):
        model.predict({"a": ["x", "y"]})


def test_a_description_that_lacks_an_input_is_refused(tmp_path: Path) -> None:
    writer = Writer()
    writer.function("main", added())
    with pytest.raises(TensorMismatch, match="lacks a, b, y"):
        Model(writer.write(tmp_path / "net.mlpackage")).predict({"a": [1.0, 2.0]})


def test_a_state_is_kept_by_the_caller_and_by_a_session(tmp_path: Path) -> None:
    path = described(tmp_path, counting_code())
    model, fed = Model(path), {"x": np.ones(2), "n": np.array(0)}
    kept = model.new_state()
    totals = [model.predict(fed, state=kept)["total"].tolist() for _ in range(2)]
    assert totals == [[1, 1], [2, 2]]
    given = [TensorSpec("x", "f32", (2,)), TensorSpec("n", "i32", ())]
    specs = [TensorSpec("y", "f32", (2,)), TensorSpec("count", "i32", (1,))]
    specs.append(TensorSpec("total", "f32", (2,)))
    session = MilRuntime().load(path, entries={"forward": (given, specs)})
    arrays = [np.ones(2, np.float32), np.array(0, np.int32)]
    assert [session.run("forward", arrays)[2].tolist() for _ in range(2)] == totals
    session.reset_states()
    assert session.run("forward", arrays)[2].tolist() == totals[0]


class Means(nn.Module):
    """Weighted channel means: the order of the channels shows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels, 4)
        generator = torch.Generator().manual_seed(0)
        self.head.weight.data = torch.randn(4, channels, generator=generator) / 9
        self.head.bias.data = torch.randn(4, generator=generator)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.head(image.mean((2, 3))), -1)


def convert(ct: Any, path: Path, net: nn.Module, example: torch.Tensor, **words: Any) -> Path:
    with quiet():
        words = {"compute_precision": ct.precision.FLOAT32, **words}
        ct.convert(export(net, (example,)), **words).save(str(path))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("color", ["RGB", "BGR", "GRAYSCALE", "GRAYSCALE_FLOAT16"])
def test_images_and_class_labels(coremltools: Any, tmp_path: Path, color: str) -> None:
    ct, labels = coremltools, ["cat", "dog", "cow", "owl"]
    channels = 3 if color in {"RGB", "BGR"} else 1
    net, size = Means(channels).eval(), (1, channels, 6, 8)
    image = ct.ImageType(
        name="image", shape=size, scale=1 / 50, bias=[0.1] * channels,
        color_layout=getattr(ct.colorlayout, color),
    )  # fmt: skip
    path = convert(
        ct, tmp_path / "net.mlpackage", net, torch.zeros(size), inputs=[image],
        classifier_config=ct.ClassifierConfig(labels, predicted_feature_name="what"),
        minimum_deployment_target=ct.target.iOS16,
    )  # fmt: skip
    photo = PHOTO if channels == 3 else PHOTO.convert("L" if color == "GRAYSCALE" else "F")
    answer = Model(path).predict({"image": photo})
    pixels = torch.from_numpy(np.array(photo, np.float32).reshape(6, 8, channels))
    pixels = pixels.flip(-1) if color == "BGR" else pixels
    pixels = pixels.half().float() if color == "GRAYSCALE_FLOAT16" else pixels
    with torch.no_grad():
        wanted = net(pixels.permute(2, 0, 1)[None] / 50 + 0.1)[0]
    assert answer["what"] == labels[int(wanted.argmax())]
    assert list(answer["what_probs"]) == labels
    near = 1e-3 if color == "GRAYSCALE_FLOAT16" else 1e-5  # scale and bias are float16 there
    assert list(answer["what_probs"].values()) == pytest.approx(wanted.tolist(), abs=near)
    with pytest.raises(ImageFault, match="It takes a PIL image of mode"):
        Model(path).predict({"image": photo.convert("RGBA" if channels == 3 else "RGB")})
    with pytest.raises(TensorMismatch, match="has shape"):
        Model(path).predict({"image": photo.resize((9, 6))})


@pytest.mark.slow
def test_integer_labels_and_enumerated_shapes(coremltools: Any, tmp_path: Path) -> None:
    ct, sizes = coremltools, [(1, 3, 6, 8), (1, 3, 10, 4)]
    net = Means(3).eval()
    kinds = {"enumerated": ct.EnumeratedShapes(sizes, default=sizes[0])}
    kinds["range"] = ct.Shape((1, 3, ct.RangeDim(4, 12, 6), 8))
    dims = {"enumerated": (2, 3), "range": (2,)}
    for kind, shape in kinds.items():
        example = torch.zeros(sizes[0])
        with quiet():
            open_sizes = (dict.fromkeys(dims[kind], torch.export.Dim.DYNAMIC),)
            program = torch.export.export(net, (example,), dynamic_shapes=open_sizes)
            ct.convert(
                program.run_decompositions({}),
                inputs=[ct.TensorType("image", shape)],
                classifier_config=ct.ClassifierConfig([7, 11, 13, 17]),
                compute_precision=ct.precision.FLOAT32,
            ).save(str(tmp_path / f"{kind}.mlpackage"))
    other = {"enumerated": sizes[1], "range": (1, 3, 12, 8)}
    for kind in kinds:
        model = Model(tmp_path / f"{kind}.mlpackage")
        x = torch.randn(other[kind])
        answer = model.predict({"image": x.numpy()})
        with torch.no_grad():
            wanted = net(x)[0]
        assert answer["classLabel"] == [7, 11, 13, 17][int(wanted.argmax())]
        probabilities = list(answer["classLabel_probs"].values())
        assert probabilities == pytest.approx(wanted.tolist(), abs=1e-5)
        with pytest.raises(TensorMismatch, match="Allowed are"):
            model.predict({"image": np.zeros((1, 3, 13, 8), np.float32)})
