"""What the manifest proves of a bundle's splits is part of every situation."""

import dataclasses

import pytest

from headtail.offload.breaker import Breaker
from headtail.offload.experience import Experience
from headtail.offload.planner import decide
from headtail.offload.policy import Policy


def situation(manifest, artifact, policy):
    seen = Experience(manifest, artifact, manifest.cuts)
    seen.device.ran_local(50.0)
    return seen.situation(policy, Breaker(), barred="", failure="", busy=False)


def test_fidelity_of_what_can_be_chosen(bundle):
    manifest, artifact = bundle.manifest, bundle.manifest.artifacts[0]
    found = situation(manifest, artifact, Policy()).quality
    assert found.local == artifact.agreement.top1
    # aq8t was not measured in this bundle
    proven = {"aq8t+deflate": 1.0, "raw32": 1.0}
    assert found.split == {"early": proven, "late": proven}
    one = situation(manifest, artifact, Policy(cut="late", codec="raw32")).quality
    assert one.split == {"late": {"raw32": 1.0}}


@pytest.mark.parametrize(("codec", "where"), [("raw32", "split"), ("aq8t", "local")])
def test_a_minimum_takes_what_was_proven_and_nothing_else(bundle, codec, where):
    asked = Policy(mode="force", codec=codec, minimum_fidelity=0.9)
    assert decide(situation(bundle.manifest, bundle.manifest.artifacts[0], asked)).where == where


def test_heads_of_another_precision_are_not_taken_for_fp32_ones(bundle):
    half = dataclasses.replace(bundle.manifest.artifacts[0], precision="fp16")
    asked = Policy(mode="force", minimum_fidelity=0.9)
    assert decide(situation(bundle.manifest, half, asked)).where == "local"
