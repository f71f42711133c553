"""Names with options; a hub that cannot be reached is told, never passed over in silence."""

import os
import socket

import pytest

from exporters.source import load_source
from exporters.sources.hub import Options, Weights, reachable
from headtail.errors import EnvironmentFault, MissingDependency, UnknownName, UsageFault


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")


def test_options_are_split_off_the_name():
    options = Options.parse("a/b_c.in1k?pretrained=0&length=7", ("pretrained", "length"))
    assert options.name == "a/b_c.in1k"
    assert options.switch("pretrained") is False
    assert options.switch("other") is None
    assert (options.count("length", 3), options.count("other", 3)) == (7, 3)


def test_an_unknown_option_lists_what_exists():
    with pytest.raises(UnknownName, match=r"option of net 'pretraind'.*Did you mean 'pretrained'"):
        Options.parse("net?pretraind=0", ("pretrained",))


@pytest.mark.parametrize("value", ["2", "", "true", "-1"])
def test_a_switch_is_0_or_1(value):
    options = Options.parse(f"net?pretrained={value}", ("pretrained",))
    with pytest.raises(UsageFault, match=r"It is 0 or 1\. Write net\?pretrained=0"):
        options.switch("pretrained")


@pytest.mark.parametrize("value", ["0", "-3", "1.5", "", "٣"])
def test_a_count_is_a_positive_whole_number(value):
    options = Options.parse(f"net?length={value}", ("length",))
    with pytest.raises(UsageFault, match="whole number of at least 1"):
        options.count("length", 64)


def test_weights_that_were_asked_for_and_cannot_be_had_are_an_error(offline):
    with pytest.raises(EnvironmentFault, match=r"cannot be reached\. .*\?pretrained=0") as caught:
        Weights.decide(True, cached=False, host="hub.invalid")
    assert caught.value.exit_code == 3


def test_without_a_hub_weights_are_random_and_say_so(offline):
    weights = Weights.decide(None, cached=False, host="hub.invalid", seed=5)
    assert not weights.real
    assert weights.said == "weights: random, seed 5, because hub.invalid cannot be reached"


def test_the_cache_is_asked_before_the_hub_and_the_user_before_both(offline):
    assert Weights.decide(None, cached=True, host="hub.invalid").real
    assert Weights.decide(True, cached=True, host="hub.invalid").real
    assert not Weights.decide(False, cached=True, host="hub.invalid").real


def test_a_host_that_does_not_answer_is_not_reachable(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def refuse(*_address, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert not reachable("hub.invalid")


@pytest.mark.parametrize(
    ("source", "module", "words"),
    [
        ("timm:resnet18", "timm", r"timm .*headtail\[sources\]"),
        ("torchvision:resnet18", "torchvision", "torchvision .*the build that fits your torch"),
        ("hf:somebody/model", "transformers", r"transformers .*headtail\[sources\]"),
        ("keras:model.keras", "keras", r"keras .*headtail\[sources\]"),
    ],
)
def test_a_package_that_is_not_there_is_one_clear_error(monkeypatch, source, module, words):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingDependency, match=words) as caught:
        load_source(source)
    assert caught.value.exit_code == 3
    assert str(caught.value).count(". ") == 2  # three sentences


@pytest.mark.parametrize("source", ["tim:resnet18", "huggingface:bert", "onnx:model"])
def test_an_unknown_kind_lists_the_kinds(source):
    with pytest.raises(UnknownName, match=r"kind of source .*timm:NAME"):
        load_source(source)


def test_photos_are_for_hubs_only(tmp_path):
    with pytest.raises(UsageFault, match="--images was given"):
        load_source("net.py", images=tmp_path)
