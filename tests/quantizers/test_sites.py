"""Which weights are found, what they are called and what a recipe says of each."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.capture import capture, flat_graph
from headtail.errors import UsageFault
from quantizers.recipe import Recipe, Rule, Storage, recipe
from quantizers.sites import module_of, sites, storages, weight_of

IMAGE = torch.zeros(1, 3, 12, 12)
TOKENS = torch.zeros(1, 6, dtype=torch.int32)


class Photo(torch.nn.Module):
    """One convolution of each kind, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3)
        self.spatial = torch.nn.Conv2d(8, 8, 3, groups=8)
        self.mixed = torch.nn.Conv2d(8, 32, 1, groups=2)
        self.classify = torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Linear(32, 5))

    def forward(self, x):
        x = self.stem(F.pad(x, (0, 1, 0, 1)))
        return self.classify(self.mixed(self.spatial(x)).mean((2, 3)))


class Text(torch.nn.Module):
    """Embeddings, a convolution along the text, a shared layer, and a table that scores too."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(20, 16)
        self.places = torch.nn.Embedding(6, 16)
        self.along = torch.nn.Conv1d(16, 16, 3, padding=1)
        self.shared = torch.nn.Linear(16, 16)
        self.normed = torch.nn.Linear(16, 16)

    def forward(self, tokens):
        x = self.words(tokens) + self.places(torch.arange(6))
        x = x + self.along(x.transpose(1, 2)).transpose(1, 2)
        x = self.shared(self.shared(x).relu())
        x = F.linear(x, self.normed.weight / self.normed.weight.norm()) + self.normed(x)
        return F.linear(x, self.words.weight)  # tied to the table


@pytest.fixture(scope="module")
def photo():
    return flat_graph(capture(Photo().eval(), (IMAGE,)))


@pytest.fixture(scope="module")
def text():
    return flat_graph(capture(Text().eval(), (TOKENS,)))


def found(graph):
    return {site.weight: site for site in sites(graph)}


def test_every_kind_of_operator_is_known(photo, text):
    assert {name: site.kinds - {"small"} for name, site in found(photo).items()} == {
        "stem.weight": {"conv", "stem"},  # padding between it and the input does not hide it
        "spatial.weight": {"conv", "depthwise"},
        "mixed.weight": {"conv"},
        "classify.1.weight": {"linear"},
    }
    kinds = {name: site.kinds - {"small"} for name, site in found(text).items()}
    assert kinds["places.weight"] == {"embedding"}
    assert kinds["along.weight"] == {"conv"}


def test_the_smallest_weights_are_a_quarter_of_the_network_or_a_little_more(photo):
    """216, 72, 128 and 160 values: the second is an eighth of all, with the third over a third."""
    small = [site.weight for site in sites(photo) if "small" in site.kinds]
    assert small == ["spatial.weight"]


def test_a_site_says_where_it_is_and_how_large(photo):
    site = found(photo)["mixed.weight"]
    assert (site.module, site.nodes, site.shape) == ("mixed", ("conv2d_2",), (32, 4, 1, 1))
    assert (site.groups, site.elements) == (2, 128)
    assert found(photo)["classify.1.weight"].module == "classify.1"
    node = next(node for node in photo.graph.nodes if node.name == "conv2d_2")
    assert module_of(node) == "mixed"
    assert module_of(next(iter(photo.graph.nodes))) == ""
    assert torch.equal(weight_of(photo, "mixed.weight"), photo.get_parameter("mixed.weight"))


def test_a_weight_used_twice_is_one_site_with_both_calls(text):
    site = found(text)["shared.weight"]
    assert len(site.nodes) == 2
    assert site.module == "shared"


def test_what_something_else_reads_is_left_alone(text):
    names = set(found(text))
    assert names == {"places.weight", "along.weight", "shared.weight"}
    assert "words.weight" not in names  # a table and a linear layer at once
    assert "normed.weight" not in names  # a norm is taken of it


def test_weights_made_while_running_are_no_sites():
    class Hyper(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.make = torch.nn.Linear(4, 16)

        def forward(self, x):
            return F.linear(x, self.make(x).reshape(4, 4))

    assert set(found(flat_graph(capture(Hyper().eval(), (torch.zeros(1, 4),))))) == {"make.weight"}


def test_rules_decide_and_blocks_that_do_not_fit_become_channels(photo):
    asked = Recipe("own", "i4", block=4, rules=(Rule("*", ("depthwise", "stem"), "i8"),))
    assert storages(sites(photo), asked) == {
        "stem.weight": Storage("i8"),
        "spatial.weight": Storage("i8"),
        "mixed.weight": Storage("i4", 4),
        "classify.1.weight": Storage("i4", 4),
    }
    wide = storages(sites(photo), Recipe("own", "i4", block=32))
    assert wide["mixed.weight"] == Storage("i4")  # 4 input channels are no block of 32
    assert wide["classify.1.weight"] == Storage("i4", 32)


def test_a_later_rule_wins_by_module_path(photo):
    rules = (Rule("*", (), "lut4"), Rule("classify.*", ("linear",), "f32"))
    chosen = storages(sites(photo), Recipe("own", "i8", rules=rules))
    assert chosen["classify.1.weight"] == Storage("f32")
    assert {chosen[name] for name in chosen if name != "classify.1.weight"} == {Storage("lut4")}


def test_a_rule_that_matches_nothing_is_refused(photo, text):
    with pytest.raises(UsageFault, match=r"clasify\.\* .*own matches no weight.*4 modules.*stem"):
        storages(sites(photo), Recipe("own", "i8", rules=(Rule("clasify.*", (), "i4"),)))
    with pytest.raises(UsageFault, match="matches no weight"):
        storages(sites(photo), Recipe("own", "i8", rules=(Rule("mixed", ("linear",), "i4"),)))
    assert storages(sites(text), recipe("w4"))  # its depthwise rule is about any network
