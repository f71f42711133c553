"""What a person reads of a bundle's cuts."""

import dataclasses

from headtail.cli.tables import cut_lines
from tests.support.bundles import golden_tensors, manifest_of

TINY = manifest_of(golden_tensors(), name="tiny")


def test_every_cut_says_what_its_codecs_leave_of_the_answers():
    table = "\n".join(cut_lines(TINY)).splitlines()
    found = [line.split() for line in table[2:]]
    early = TINY.cuts[0].fidelity["raw32"]
    interval = f"{early.low:.3f}-{early.high:.3f}"
    assert found[0][-6:] == ["raw32", "256", "1.000", interval, "120.0", str(early.n)]
    assert found[1] == ["aq8t+deflate", "64", *found[0][-4:]]
    assert [line[0] for line in found] == ["early", "aq8t+deflate", "late", "aq8t+deflate"]


def test_what_was_not_measured_is_left_blank_and_what_does_not_classify_has_its_noise():
    noise = dataclasses.replace(TINY.cuts[0].fidelity["raw32"], top1=None, low=None, high=None)
    cut = dataclasses.replace(TINY.cuts[0], fidelity={"raw32": noise})
    raw, packed = "\n".join(cut_lines(dataclasses.replace(TINY, cuts=(cut,)))).splitlines()[2:]
    assert raw.split()[-4:] == ["-", "-", "120.0", str(noise.n)]
    assert packed.split() == ["aq8t+deflate", "64"]


def test_a_file_s_own_heads_are_told_apart():
    known = TINY.cuts[1].fidelity["raw32"]
    half = dataclasses.replace(
        TINY.artifacts[0], precision="fp16", splits={"late": {"raw32": known}}
    )
    cuts, gap, heads = cut_lines(dataclasses.replace(TINY, artifacts=(half,)))
    assert (cuts, gap) == (*cut_lines(TINY), "")
    interval = f"{known.low:.3f}-{known.high:.3f}"
    row = ["litert", "fp16", "late", "raw32", "1.000", interval, "120.0", str(known.n)]
    assert heads.splitlines()[2].split() == row
