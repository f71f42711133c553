"""One model's samples, entering at different cuts, in one batch: the right rows, and only those."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from companion_server.tails import Group, TailRunner, read_program
from companion_server.tails.chain import release
from headtail.bundle import Bundle
from headtail.errors import BundleMismatch, IntegrityFault, UnknownName
from headtail.metrics import snr_db
from tests.companion_server.conftest import build_model, write_bundle

SAME_DB = 100.0  # of a sample alone and in company: kernels may round otherwise, nothing more


@pytest.fixture
def runner(bundle):
    made = TailRunner()
    made.load(bundle)
    return made


@pytest.fixture(scope="module")
def model():
    return build_model(0)


def stages(model, samples, seed):
    """Inputs, the two cuts' tensors and the outputs of random samples."""
    import torch

    x = np.random.default_rng(seed).standard_normal((samples, 3, 8, 8), dtype=np.float32)
    with torch.inference_mode():
        early, late, logits, mask = (t.numpy() for t in model.stages(torch.from_numpy(x)))
    entries = {"": (x,), "c1": (early,), "c2": (early, late)}
    return entries, [logits, mask]


def group_and_outputs(model, cut, samples, seed):
    entries, outputs = stages(model, samples, seed)
    return Group(cut, entries[cut]), outputs


def assert_alike(found, wanted):
    assert len(found) == len(wanted)
    for candidate, reference in zip(found, wanted, strict=True):
        assert candidate.shape == reference.shape
        assert snr_db(reference=reference, candidate=candidate) >= SAME_DB


@pytest.mark.parametrize("cut", ["", "c1", "c2"])
def test_each_entry_gives_the_models_outputs(runner, bundle, model, cut):
    group, wanted = group_and_outputs(model, cut, 3, seed=1)
    assert_alike(runner.run(bundle.manifest.bundle_id, [group])[0], wanted)


@pytest.mark.parametrize(
    "cuts",
    [
        ("", "c1", "c2"),
        ("c2", "", "c1", "", "c2"),
        ("c1", "c1"),
        ("", "c2"),
    ],
)
def test_groups_of_different_cuts_join_and_come_back_to_their_owners(runner, bundle, model, cuts):
    made = [group_and_outputs(model, cut, 1 + i % 3, seed=i) for i, cut in enumerate(cuts)]
    results = runner.run(bundle.manifest.bundle_id, [group for group, _ in made])
    for found, (_, wanted) in zip(results, made, strict=True):
        assert_alike(found, wanted)


def test_company_changes_no_sample(runner, bundle, model):
    bundle_id = bundle.manifest.bundle_id
    group, _ = group_and_outputs(model, "c1", 1, seed=0)
    alone = runner.run(bundle_id, [group])[0]
    others = [group_and_outputs(model, cut, 5, seed=9)[0] for cut in ("", "c1", "c2")]
    together = runner.run(bundle_id, [*others, group])[-1]
    assert_alike(together, alone)


def test_read_only_arrays_are_taken(runner, bundle):
    array = np.frombuffer(bundle.golden()["input.0.x"].tobytes(), np.float32).reshape(1, 3, 8, 8)
    assert runner.run(bundle.manifest.bundle_id, [Group("", (array,))])[0][0].shape == (1, 5)


def test_results_are_dense_and_belong_to_the_caller(runner, bundle, model):
    group, _ = group_and_outputs(model, "c1", 2, seed=0)
    for output in runner.run(bundle.manifest.bundle_id, [group])[0]:
        assert output.flags.c_contiguous
        assert output.flags.writeable


class Wrapped:
    """The toy's program behind what a test says of it, and does to each segment."""

    def __init__(self, program, *, one_sample, around):
        self._program = program
        self._around = around
        self.one_sample = one_sample

    def calls_after(self, boundary):
        return self._program.calls_after(boundary)

    def enter(self, boundary, *, until=None):
        module = self._program.enter(boundary, until=until)
        return lambda *values: self._around(module, values)


def loaded(bundle, around, *, one_sample=False):
    def load(*paths):
        return Wrapped(read_program(*paths), one_sample=one_sample, around=around)

    runner = TailRunner(load_program=load)
    runner.load(bundle)
    return runner


def assert_right_for_all_entries(runner, bundle, model):
    made = [group_and_outputs(model, cut, 2, seed=i) for i, cut in enumerate(("", "c1", "c2"))]
    results = runner.run(bundle.manifest.bundle_id, [group for group, _ in made])
    for found, (_, wanted) in zip(results, made, strict=True):
        assert_alike(found, wanted)


def test_a_program_of_one_sample_is_run_sample_by_sample(bundle, model):
    batches = set()

    def counted(module, values):
        batches.add(values[0].shape[0])
        return module(*values)

    runner = loaded(bundle, counted, one_sample=True)
    assert_right_for_all_entries(runner, bundle, model)
    assert batches == {1}


def test_a_program_that_lets_samples_see_each_other_is_run_sample_by_sample(bundle, model):
    def mixed(module, values):
        return tuple(value - value.mean(0) + value[0] for value in module(*values))

    runner = loaded(bundle, mixed)
    assert runner.info(bundle.manifest.bundle_id)["one_sample"]
    assert_right_for_all_entries(runner, bundle, model)


def test_a_program_that_fixes_its_batch_is_run_sample_by_sample(bundle, model):
    def fixed(module, values):
        return module(*(value.reshape(1, *value.shape[1:]) for value in values))

    assert_right_for_all_entries(loaded(bundle, fixed), bundle, model)


def test_the_program_is_read_once_however_often_it_is_loaded(bundle):
    read = []

    def load(*paths):
        read.append(paths)
        return read_program(*paths)

    runner = TailRunner(load_program=load)
    runner.load(bundle)
    runner.load(bundle)
    assert len(read) == 1


def test_unloaded_is_unknown(runner, bundle, model):
    bundle_id = bundle.manifest.bundle_id
    group, _ = group_and_outputs(model, "", 1, seed=0)
    runner.unload(bundle_id)
    runner.unload(bundle_id)
    with pytest.raises(UnknownName, match="Unknown loaded bundle"):
        runner.run(bundle_id, [group])


def test_an_unknown_cut_is_refused_by_name(runner, bundle, model):
    group, _ = group_and_outputs(model, "", 1, seed=0)
    with pytest.raises(UnknownName, match="Unknown cut 'c9'"):
        runner.run(bundle.manifest.bundle_id, [Group("c9", group.arrays)])


def test_a_tail_that_misses_its_golden_outputs_is_not_loaded(tmp_path):
    wrong = write_bundle(tmp_path, spoil=True)
    runner = TailRunner()
    with pytest.raises(IntegrityFault, match=r"'output_0' with .* dB against the golden output"):
        runner.load(wrong)
    with pytest.raises(UnknownName):
        runner.info(wrong.manifest.bundle_id)


def test_a_tail_that_cannot_be_read_says_so(bundle):
    def broken(*_paths):
        raise RuntimeError("no such operator")

    with pytest.raises(IntegrityFault, match="RuntimeError: no such operator"):
        TailRunner(load_program=broken).load(bundle)


def test_torch_uses_the_threads_it_was_given(bundle):
    import torch

    TailRunner(threads=2).load(bundle)
    assert torch.get_num_threads() == 2
    TailRunner(threads=1).load(bundle)
    assert torch.get_num_threads() == 1


def test_unloading_frees_the_weights_at_once(bundle):
    import gc
    import weakref

    held: list[Any] = []

    def load(*paths):
        program = read_program(*paths)
        seen = program.enter([spec.name for spec in bundle.manifest.inputs])
        held.extend(weakref.ref(buffer) for buffer in seen.buffers())
        release(seen)
        return program

    runner = TailRunner(load_program=load)
    gc.disable()
    try:
        runner.load(bundle)
        assert any(weight() is not None for weight in held)
        runner.unload(bundle.manifest.bundle_id)
        assert all(weight() is None for weight in held)
    finally:
        gc.enable()


def with_cuts(bundle, *cuts):
    manifest = dataclasses.replace(bundle.manifest, cuts=cuts).sealed()
    return Bundle(bundle.path, manifest)


def test_cuts_may_stand_in_any_order_in_the_manifest(bundle, model):
    turned = with_cuts(bundle, *reversed(bundle.manifest.cuts))
    runner = TailRunner()
    runner.load(turned)
    assert runner.info(turned.manifest.bundle_id)["entries"] == ["", "c1", "c2"]
    assert_right_for_all_entries(runner, turned, model)


@pytest.mark.parametrize("name", ["", "c1"])
def test_two_entries_of_one_name_are_refused(bundle, name):
    first, second = bundle.manifest.cuts
    with pytest.raises(IntegrityFault, match="or two of one name"):
        TailRunner().load(with_cuts(bundle, first, dataclasses.replace(second, id=name)))


def test_a_cut_that_does_not_follow_from_the_one_before_it_is_refused(bundle):
    first, second = bundle.manifest.cuts
    lacking = dataclasses.replace(second, tensors=second.tensors[1:], materialised=False)
    with pytest.raises(IntegrityFault, match="do not follow one another"):
        TailRunner().load(with_cuts(bundle, first, lacking))


def test_a_bundle_without_a_tail_is_refused(bundle):
    manifest = dataclasses.replace(bundle.manifest, tails=()).sealed()
    with pytest.raises(BundleMismatch, match="without a tail"):
        TailRunner().load(Bundle(bundle.path, manifest))
