"""Noise for who asks for it: repeatable, valid, and told from a set of real inputs."""

import numpy as np
import pytest

from headtail.manifest import SampleSet
from headtail.tensors import Array
from quantizers.calibration_synthetic import WORD, synthetic, synthetic_pictures


def test_the_same_seed_gives_the_same_set_and_another_another(preprocess):
    a, b, c = (synthetic([], preprocess, count=3, seed=seed).provenance for seed in (1, 1, 2))
    assert a.sha256 == b.sha256 != c.sha256
    assert (a.count, a.seed) == (3, 1)


def test_it_is_stamped(preprocess):
    assert synthetic([], preprocess, count=1, seed=0).provenance.synthetic
    assert not SampleSet(f"photos in {WORD}", 1, 0, "").synthetic


def test_pictures_fall_off_as_photos_do(preprocess, photos):
    """Neighbours are alike: white noise would have none of that, photos have .9 and more."""

    def likeness(frames):
        rows = [f[..., 1].astype(float) - f[..., 1].mean() for f in frames]
        return [float((r[:, 1:] * r[:, :-1]).mean() / (r**2).mean()) for r in rows]

    made = synthetic_pictures(preprocess, count=6, seed=0)
    assert {(f.shape, f.dtype.name) for f in made} == {((32, 32, 3), "uint8")}
    assert min(likeness(made)) > 0.6
    assert min(likeness(photos.values())) > 0.9
    assert len({f.tobytes() for f in made}) == 6


def test_other_inputs_are_like_the_example():
    example: list[Array] = [
        np.full((1, 4), 7.0, np.float32) + np.linspace(-1, 1, 4, dtype=np.float32),
        np.array([[0, 30, 5]], np.int32),
        np.ones((1, 3), np.int32),
        np.zeros((2, 50), np.float16),
        np.array([True, False]),
    ]
    made = synthetic(example, None, count=40, seed=0).samples
    columns = [np.stack(arrays) for arrays in zip(*made, strict=True)]
    assert [c.dtype for c in columns] == [a.dtype for a in example]
    assert [c.shape[1:] for c in columns] == [a.shape for a in example]
    assert columns[0].mean() == pytest.approx(7, abs=0.3)
    assert columns[0].std() == pytest.approx(example[0].std(), rel=0.2)
    assert (columns[1].min(), columns[1].max()) == (0, 30)
    assert (columns[2] == 1).all()  # a mask stays one
    assert columns[3].astype(float).std() == pytest.approx(1, rel=0.1)
    assert set(columns[4].reshape(-1).tolist()) == {True, False}
