"""Which cells there are, and the reason for each thing that is none."""

import pytest

from app.benchmark.matrix import LeftOut, matrix_of, thread_choices
from headtail.bundle import open_bundle
from tests.app.benchmark.echo import EchoRuntime


def matrix(bundle, *runtimes, threads=(1, 2)):
    probes = {runtime.name: runtime.probe() for runtime in runtimes}
    return matrix_of(open_bundle(bundle).manifest, runtimes, probes, threads=threads)


@pytest.mark.parametrize(
    ("cores", "threads"), [(None, (1,)), (1, (1,)), (2, (1, 2)), (6, (1, 2, 4)), (64, (1, 2, 4, 8))]
)
def test_no_more_threads_than_cores(cores, threads):
    assert thread_choices(cores) == threads


def test_a_cell_for_each_number_of_threads_and_none_for_a_format_without_a_runtime(bundle, echo):
    found = matrix(bundle, echo)
    assert [(c.artifact, c.backend, c.threads) for c in found.cells] == [
        ("litert.fp32", "echo", 1),
        ("litert.fp32", "echo", 2),
    ]
    assert found.left_out == (
        LeftOut("tiny", "coreml fp32", "this machine has no runtime for coreml"),
    )
    assert {cell.bundle_id for cell in found.cells} == {open_bundle(bundle).manifest.bundle_id}


def test_several_runtimes_of_one_format_stand_beside_each_other_and_an_absent_one_says_why(bundle):
    here = EchoRuntime(bundle, name="second")
    gone = EchoRuntime(bundle, name="first", reason="not installed: pip install it")
    found = matrix(bundle, gone, here, threads=(1,))
    assert [cell.runtime for cell in found.cells] == ["second"]
    assert ("litert fp32 by first", "not installed: pip install it") in [
        (left.name, left.reason) for left in found.left_out
    ]


def test_an_accelerator_is_a_cell_of_its_own_and_has_no_threads_to_choose(bundle):
    found = matrix(bundle, EchoRuntime(bundle, accelerators=("cpu", "gpu")), threads=(1, 2, 4))
    assert [(c.backend, c.threads) for c in found.cells] == [
        ("echo", 1),
        ("echo", 2),
        ("echo", 4),
        ("echo gpu", 1),
    ]
