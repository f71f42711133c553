"""What runs here and why the rest does not; the runtimes are stand-ins that only answer a probe."""

import dataclasses

import pytest

from app.live.selection import usable_runtimes
from app.models.fitness import NO_RUNTIME, NOT_PREFERRED, POOR, Suitability, suitability
from headtail.runtimes.base import Capability


class Probed:
    """What is asked of a runtime here, without one."""

    timing_kind = "host"
    accelerators = ("cpu",)

    def __init__(self, name, kind, reason=""):
        self.name, self.format = name, kind
        self._capability = Capability(not reason, "" if reason else "1.2", reason)

    def probe(self):
        return self._capability

    def load(self, path, *, entries, threads=1, accelerator="cpu"):
        raise AssertionError("this runtime loads nothing")


@pytest.fixture
def manifest(bundle):
    """LiteRT fp32, a smaller LiteRT w8a8, a poor LiteRT w4, and Core ML fp32."""
    fp32, coreml = bundle.manifest.artifacts
    small = dataclasses.replace(fp32, precision="w8a8", bytes=fp32.bytes - 1)
    poor = dataclasses.replace(fp32, precision="w4", bytes=1, verdict="poor")
    return dataclasses.replace(bundle.manifest, artifacts=(fp32, small, poor, coreml))


def fits(manifest, *runtimes):
    return suitability(manifest, usable_runtimes(runtimes))


def test_the_smallest_that_passed_is_chosen_and_the_others_say_why_not(manifest):
    assert fits(manifest, Probed("litert", "litert")) == (
        Suitability("litert 1.2", reason=NOT_PREFERRED),
        Suitability("litert 1.2", chosen=True),
        Suitability("litert 1.2", reason=POOR),
        Suitability(reason=NO_RUNTIME),
    )


def test_the_platforms_order_decides_between_formats(manifest):
    both = fits(manifest, Probed("coreml", "coreml"), Probed("litert", "litert"))
    assert [fit.chosen for fit in both] == [False, False, False, True]


def test_a_runtime_that_is_passed_over_is_named_with_its_reason(manifest):
    java = Probed("litert-java", "litert", "No such library.")
    found = fits(
        manifest, java, Probed("litert-ctypes", "litert"), Probed("coreml", "coreml", "A.")
    )
    assert found[1] == Suitability("litert-ctypes 1.2", True, "litert-java: No such library.")
    assert found[3] == Suitability(reason="coreml: A.")


def test_nothing_runs_where_nothing_can(manifest):
    found = fits(manifest, Probed("litert", "litert", "Install it."))
    assert {fit.reason for fit in found} == {"litert: Install it.", NO_RUNTIME}
    assert not any(fit.chosen or fit.runs for fit in found)
    assert fits(dataclasses.replace(manifest, artifacts=())) == ()
