"""Two halves of a calibration set: alike if it is large enough, and apart as much as it costs."""

import numpy as np
import pytest
import torch
from torch import nn

from exporters.capture import capture, flat_graph
from headtail.quality import Halves
from quantizers.activation_ranges import Observed, observed
from quantizers.halves import LIMIT_DB, agreement_of_halves, compared
from quantizers.ranges import Histogram, estimate
from quantizers.static_graph import affine


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.Conv2d(8, 6, 1))
    return flat_graph(capture(nn.Sequential(*layers).eval(), (torch.zeros(1, 3, 24, 24),)))


def pictures(count, seed, *, spread=0.0):
    """Noise of its own brightness each, and of a contrast that varies by e^`spread`."""
    generator = np.random.default_rng(seed)
    contrast = np.exp(spread * generator.standard_normal((count, 1, 1, 1, 1)))
    values = generator.standard_normal((count, 1, 3, 24, 24)) * contrast
    return [(picture.astype(np.float32),) for picture in values]


def test_halves_of_many_alike_agree_and_of_few_that_differ_do_not(graph):
    many = agreement_of_halves(graph, pictures(64, 1))
    assert many.ranges_db is not None
    assert many.ranges_db < 0.5
    assert many.means_db is not None
    assert many.means_db < 0.1
    assert (many.count, many.more, many.warning) == (64, 0, "")
    few = agreement_of_halves(graph, pictures(4, 1, spread=1.5))
    assert few.ranges_db is not None
    assert few.ranges_db > LIMIT_DB
    assert few.more > 4
    assert "one half of its 4 inputs" in few.warning
    assert f"about {few.more} more" in few.warning


def noise(values, found):
    """Of 8-bit integers over a range, over the power of the values."""
    scale, zero_point = affine(found)
    levels = np.clip(np.rint(values / scale) + zero_point, -128, 127)
    return float((((levels - zero_point) * scale - values) ** 2).sum() / (values**2).sum())


def test_the_figure_is_the_noise_that_the_other_half_s_ranges_make():
    """Of one value, measured by quantizing it instead of by its histogram."""
    generator = np.random.default_rng(2)
    halves = [generator.standard_normal(4000).astype(np.float32) * by for by in (1.0, 3.0)]
    seen = tuple(Histogram() for _ in halves)
    for one, values in zip(seen, halves, strict=True):
        one.add(values)
    a, b = (estimate(one, "mse") for one in seen)
    own = noise(halves[0], a) + noise(halves[1], b)
    other = noise(halves[0], b) + noise(halves[1], a)
    found = compared(Observed(2, {"x": (seen[0], seen[1])}, {}, {"x": "stem"}))
    assert other > 100 * own
    assert found.ranges_db == pytest.approx(10 * np.log10(other / own), rel=0.01)
    assert found.ranges_at == "stem"


def test_means_that_differ_are_told_beside_ranges_that_do_not(graph):
    """Brightness that differs by a whole spread, at the same contrast, in a set of two."""
    pair = pictures(2, 3)
    moved = [pair[0], (pair[1][0] + np.float32(2),)]
    found = [agreement_of_halves(graph, given, static=False).means_db for given in (pair, moved)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] < 1 < LIMIT_DB < found[1]


def test_without_static_ranges_only_means_are_looked_at(graph):
    found = agreement_of_halves(graph, pictures(4, 1, spread=1.5), static=False)
    assert (found.ranges_db, found.ranges_at) == (None, "")
    assert found.means_db is not None


def test_arrays_of_a_file_are_read_only(graph):
    """Which torch would warn about: a warning is an error here."""
    samples = pictures(2, 1)
    for (array,) in samples:
        array.flags.writeable = False
    assert agreement_of_halves(graph, samples).means_db is not None


@pytest.mark.parametrize("static", [True, False])
def test_one_sample_is_too_few_to_tell(graph, static):
    found = agreement_of_halves(graph, pictures(1, 1), static=static)
    assert (found.count, found.means_db) == (1, None)
    assert "too small" in found.warning


def test_samples_of_nothing_but_zeros_are_no_trouble(graph):
    black = [(np.zeros((1, 3, 24, 24), np.float32),)] * 4
    found = agreement_of_halves(graph, black)
    assert found.means_db == 0
    assert found.ranges_db == pytest.approx(0)


def test_the_set_grows_with_how_far_the_halves_are_apart():
    """Twice the inputs err by half the power, whatever they were."""
    twice = Halves(10, 2.0, 10 * np.log10(1 + 2 * 0.58489), "x", 0.1, "y", 10)
    assert "10 more" in twice.warning
    assert Halves(10, 2.0, 2.0, "x", 0.1, "y", 0).warning == ""


def test_halves_do_not_change_what_is_measured(graph):
    """Both halves' histograms together are those of one pass over the set."""
    samples = pictures(6, 4, spread=1.0)
    seen = observed(graph, samples)
    for name, (a, b) in seen.values.items():
        both, turned = a.merged(b), b.merged(a)
        assert np.array_equal(both.counts, turned.counts)
        assert both.counts.sum() == a.counts.sum() + b.counts.sum()
        assert (both.low, both.high) == (min(a.low, b.low), max(a.high, b.high))
        assert seen.ranges()[name] == estimate(both, "mse")
