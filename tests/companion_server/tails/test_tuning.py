"""Which backend takes over: faster, proven, and never at the price of a wrong or late answer."""

import copy
import time

import numpy as np
import pytest

from companion_server.tails import Group, TailRunner
from companion_server.tails.backends import BACKENDS, Backend
from headtail.metrics import snr_db

ENTRIES = ("", "c1", "c2")


def tuned(runner, bundle, *, within_s=30.0):
    """`info` once nothing is left to be tried."""
    until = time.monotonic() + within_s
    bundle_id = bundle.manifest.bundle_id
    while runner.info(bundle_id)["tuning"] != "done":
        assert time.monotonic() < until
        runner.tend()
    return runner.info(bundle_id)


def only(monkeypatch, **backends):
    """The table of backends holds these, which build nothing."""
    for name in list(BACKENDS):
        monkeypatch.delitem(BACKENDS, name)
    for name, (missing, load) in backends.items():
        monkeypatch.setitem(BACKENDS, name, in_place(missing, load))


def in_place(missing, load):
    return Backend(lambda: missing, None, lambda _path, eager, _threads: load(eager))


def remembering(eager):
    """Right and faster: knows the answers to what it was asked before."""
    answers, own = {}, copy.deepcopy(eager)

    def run(*values):
        key = tuple(value.numpy().tobytes() for value in values)
        if key not in answers:
            answers[key] = own(*values)
        return answers[key]

    return run


def tedious(eager):
    return lambda *values: max((eager(*values) for _ in range(10)), key=len)


def wrong(eager):
    return lambda *values: tuple(value + 1 for value in eager(*values))


def wrong_in_company(eager):
    return lambda *values: tuple(
        value.roll(1, 0) if len(value) > 1 else value for value in eager(*values)
    )


def broken(_eager):
    raise RuntimeError("not on this machine\nwith details")


@pytest.fixture
def runner(bundle, tmp_path):
    made = TailRunner(tuning=tmp_path / "tuned")
    made.load(bundle)
    yield made
    made.close()


def assert_golden(runner, bundle):
    golden = bundle.golden()
    names = {"": ["input.1.x"], "c1": ["cut.c1.1.relu"], "c2": ["cut.c2.1.relu", "cut.c2.1.relu_1"]}
    for cut in ENTRIES:
        group = Group(cut, tuple(golden[name] for name in names[cut]))
        outputs = runner.run(bundle.manifest.bundle_id, [group, group])
        for found in outputs:
            for i, output in enumerate(found):
                reference = golden[f"output.1.output_{i}"]
                assert snr_db(reference=reference, candidate=output) > 100


def verdicts(info, backend):
    return [segment["candidates"][backend] for segment in info["segments"]]


def test_eager_serves_until_something_faster_is_proven(runner, bundle, monkeypatch):
    only(monkeypatch, quick=("", remembering))
    before = runner.info(bundle.manifest.bundle_id)
    assert [segment["backend"] for segment in before["segments"]] == ["eager"] * 3
    assert_golden(runner, bundle)
    after = tuned(runner, bundle)
    assert [segment["backend"] for segment in after["segments"]] == ["quick"] * 3
    assert after["revision"] > before["revision"]
    assert_golden(runner, bundle)
    for verdict in verdicts(after, "quick"):
        assert verdict["state"] == "chosen"
        assert verdict["gain"] >= 1.05
        assert verdict["against"]["backend"] == "eager"
        assert set(verdict["ms"]) == set(verdict["against"]["ms"]) == {"1", "4"}


def test_what_a_batch_costs_follows_the_backend(runner, bundle, monkeypatch):
    only(monkeypatch, quick=("", remembering))
    before = runner.info(bundle.manifest.bundle_id)["batch_ms"]
    after = tuned(runner, bundle)["batch_ms"]
    assert set(before) == set(after) == set(ENTRIES)
    assert set(before[""]) == set(after[""])
    assert after[""]["16"] < before[""]["16"]


@pytest.mark.parametrize(
    ("load", "state", "reason"),
    [
        (tedious, "slower", ""),
        (wrong, "refused", "dB on golden activations"),
        (wrong_in_company, "refused", "dB on golden activations"),
        (broken, "refused", "RuntimeError: not on this machine"),
    ],
)
def test_what_is_slower_or_wrong_never_runs(runner, bundle, monkeypatch, load, state, reason):
    only(monkeypatch, candidate=("", load))
    info = tuned(runner, bundle)
    assert [segment["backend"] for segment in info["segments"]] == ["eager"] * 3
    for verdict in verdicts(info, "candidate"):
        assert verdict["state"] == state
        assert reason in verdict.get("reason", "")
    assert_golden(runner, bundle)


def test_what_is_not_on_this_machine_says_why(runner, bundle, monkeypatch):
    only(monkeypatch, candidate=("no such device", remembering))
    info = tuned(runner, bundle)
    assert verdicts(info, "candidate") == [{"state": "absent", "reason": "no such device"}] * 3


def test_the_better_of_two_stays(runner, bundle, monkeypatch):
    only(monkeypatch, quick=("", remembering), tedious=("", tedious))
    info = tuned(runner, bundle)
    assert [segment["backend"] for segment in info["segments"]] == ["quick"] * 3
    assert verdicts(info, "tedious")[0]["against"]["backend"] == "quick"


def test_while_requests_keep_coming_a_step_is_taken_once_a_second(runner, bundle, monkeypatch):
    only(monkeypatch, quick=("", remembering))
    runner.tend()
    assert not any(runner.tend(idle=False) for _ in range(100))


def test_a_bundle_unloaded_in_the_middle_of_a_trial_is_gone(runner, bundle, monkeypatch):
    only(monkeypatch, quick=("", remembering))
    for _ in range(5):
        runner.tend()
    runner.unload(bundle.manifest.bundle_id)
    assert not runner.tend()


def test_without_a_folder_nothing_is_tuned(bundle):
    runner = TailRunner()
    runner.load(bundle)
    assert not runner.tend()
    assert runner.info(bundle.manifest.bundle_id)["tuning"] == "off"


def test_batches_and_memory_are_measured(runner, bundle):
    info = runner.info(bundle.manifest.bundle_id)
    assert list(info["batch_ms"]) == ["", "c1", "c2"]
    for times in info["batch_ms"].values():
        assert all(ms > 0 for ms in times.values())
    for size in info["batch_ms"][""]:
        parts = [segment["ms"][size] for segment in info["segments"]]
        np.testing.assert_allclose(info["batch_ms"][""][size], sum(parts), atol=0.01)
    weights = (3 * 4 * 9 + 4) + (4 * 4 * 9 + 4) + (4 + 1) + (4 * 5 + 5)
    assert info["weight_bytes"] == 4 * weights


def test_a_folder_that_others_may_enter_is_not_used(bundle, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    runner = TailRunner(tuning=folder)
    runner.load(bundle)
    assert not runner.tend()
    info = runner.info(bundle.manifest.bundle_id)
    assert info["tuning"] == "off"
    assert "mode 777" in info["tuning_off_because"]
    assert_golden(runner, bundle)


def test_a_disk_that_fails_in_the_middle_ends_the_tuning_only(runner, bundle, monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    only(monkeypatch)
    monkeypatch.setitem(BACKENDS, "candidate", Backend(full, None, lambda _path, eager, _t: eager))
    info = tuned(runner, bundle)
    assert [segment["backend"] for segment in info["segments"]] == ["eager"] * 3
    assert_golden(runner, bundle)


def test_a_backend_that_fails_after_all_costs_its_speed_only(runner, bundle, monkeypatch):
    works = [True]

    def fragile(eager):
        quick = remembering(eager)

        def run(*values):
            if not works[0]:
                raise RuntimeError("out of memory")
            return quick(*values)

        return run

    only(monkeypatch, fragile=("", fragile))
    info = tuned(runner, bundle)
    assert [segment["backend"] for segment in info["segments"]] == ["fragile"] * 3
    works[0] = False
    assert_golden(runner, bundle)
    after = runner.info(bundle.manifest.bundle_id)
    assert [segment["backend"] for segment in after["segments"]] == ["eager"] * 3
    assert after["fell_back_because"] == "RuntimeError: out of memory"
    assert after["revision"] > info["revision"]
