"""A rehearsal orders what solving for it properly orders, in a fraction of the time."""

import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.prepare.rehearsal import rehearsed
from quantizers.recipe import recipe
from tests.exporters.prepare.channels import Inverted, flat
from tests.exporters.prepare.quantizing import IMAGE, settled


def mean_db(graph, name, seen, judged):
    figures = rehearsed(graph, recipe(name), seen, judged)
    assert len(figures) == len(judged)
    return sum(figures) / len(figures)


def test_fewer_bits_are_worse(calibration, judged):
    graph = flat(settled(Inverted(F.relu)), IMAGE)
    seen, others = calibration[:8], judged[:6]
    found = {name: mean_db(graph, name, seen, others) for name in ("w8", "w8a16", "w8a8", "w4")}
    assert found["w8"] > found["w8a8"] + 2
    assert found["w8"] > found["w4"] + 10
    assert found["w8a16"] > found["w8a8"]


def test_ranges_are_those_of_the_inputs_seen(calibration, judged):
    graph = flat(settled(Inverted(F.relu)), IMAGE)
    dim = [(sample[0] / 8,) for sample in calibration[:8]]
    seen, unseen = (mean_db(graph, "w8a8", one, judged[:6]) for one in (calibration[:8], dim))
    assert seen > unseen + 6
