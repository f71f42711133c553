"""What Core ML's other precisions are compared with, and what becomes of another program."""

from pathlib import Path

import numpy as np
import pytest
import torch

import headtail
from benchmarks.faults import Faults
from exporters.prove import Protocol, observe
from exporters.proving import EXACT, with_exact
from exporters.verification import golden_inputs, verify_artifacts
from headtail.errors import GateFailed
from quantizers.recipe import RECIPES
from tests.exporters.nets import Residual, settle

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        ([("coreml", "fp16")], [("coreml", "fp16"), EXACT]),
        ([EXACT, ("coreml", "w8")], [EXACT, ("coreml", "w8")]),
        ([("litert", "fp16")], [("litert", "fp16")]),
    ],
)
def test_the_float32_file_is_written_where_it_is_needed(pairs, wanted):
    assert with_exact(pairs) == wanted


def exported(folder, **options):
    generator = np.random.default_rng(2)
    return headtail.export(
        settle(Residual()),
        (IMAGE,),
        output=folder / "residual.bundle",
        formats=["coreml"],
        evaluation=[generator.standard_normal((1, 3, 32, 32), np.float32) for _ in range(4)],
        **options,
    )


@pytest.mark.slow
def test_float16_alone_is_compared_with_a_file_that_is_left_out(tmp_path):
    result = exported(tmp_path, precisions=["fp16"], split=False)
    (row,) = result.rows
    assert (row.precision, row.verdict) == ("fp16", "pass")
    assert "operators and" in row.note
    assert [a.precision for a in result.bundle.manifest.artifacts] == ["fp16"]


@pytest.mark.slow
def test_another_program_is_refused_by_name_and_a_bundle_compares_its_files(tmp_path):
    bundle = exported(tmp_path, precisions=["fp32", "fp16"]).bundle
    rows = {row.precision: row for row in verify_artifacts(bundle, runs=0).rows}
    assert "the float32 file's" in rows["fp16"].note
    assert rows["fp32"].note == ""
    files = {a.precision: a for a in bundle.manifest.artifacts}
    exact, half = (bundle.artifact_path(files[p]) for p in ("fp32", "fp16"))
    faults = Faults(half, tmp_path, seed=0, per_kind=1)
    path = next(Path(p) for kind, p in faults if kind == "bias: one element halved")
    with pytest.raises(GateFailed, match=r"forward: .*: bias differs in 1 of"):
        observe(
            path,
            ("coreml", RECIPES["fp16"]),
            files["fp16"].entries,
            golden_inputs(bundle),
            folder=tmp_path / "observed",
            protocol=Protocol(1, 0, 0, exact=exact),
        )
