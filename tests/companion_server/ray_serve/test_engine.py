"""RayEngine's statuses. The handle and its replicas are stand-ins; `test_launch` has real ones."""

import asyncio
import importlib
import importlib.util
import time
import warnings
from typing import Any

import numpy as np
import pytest

from companion_server.conditions import DeadlinePassed, NotReady, Shed
from companion_server.executor.faults import to_fault
from companion_server.jobs import WHOLE, Job
from companion_server.ray_serve import RayEngine
from headtail.errors import HeadtailError, IntegrityFault, TensorMismatch
from tests.support.capabilities import require

BUNDLE = "a" * 64
ANSWER: dict[str, Any] = {
    "outputs": [np.arange(3, dtype=np.float32)],
    "queue_ms": 1.0,
    "compute_ms": 2.0,
    "batch": 4,
}


class StandInResponse:
    """What `DeploymentHandle.remote` returns: awaited once, or cancelled."""

    def __init__(self, outcome):
        self.outcome, self.cancelled = outcome, False

    def __await__(self):
        return self._wait().__await__()

    async def _wait(self):
        if self.outcome == "never":
            await asyncio.get_running_loop().create_future()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def cancel(self):
        self.cancelled = True


class StandInHandle:
    """A handle that gives one outcome after the other, and remembers what it was asked."""

    def __init__(self, *outcomes, loads=({"info": {}},)):
        self.outcomes, self.loads = list(outcomes), list(loads)
        self.asked, self.responses, self.told = [], [], []

    def options(self, *, method_name, multiplexed_model_id):
        self.method, self.bundle_id = method_name, multiplexed_model_id
        return self

    def remote(self, *arguments):
        if self.method == "load":
            return StandInResponse(self.loads[0])
        self.asked.append(arguments)
        self.responses.append(StandInResponse(self.outcomes.pop(0)))
        return self.responses[-1]

    def broadcast(self, method, *arguments):
        self.told.append((method, *arguments))
        return self

    async def results_async(self, **_options):
        return self.loads


class StandInLibrary:
    """The library actor's handle: `library.put.remote(...)`."""

    def __init__(self):
        self.held = {}
        self.put, self.remove = StandInMethod(self._put), StandInMethod(self._remove)

    async def _put(self, bundle_id, sha256, data):
        self.held[bundle_id] = (sha256, data)

    async def _remove(self, bundle_id):
        del self.held[bundle_id]


class StandInMethod:
    def __init__(self, remote):
        self.remote = remote


class StoredZip:
    bundle_id, zip_sha256, zip_bytes = BUNDLE, "b" * 64, 5

    def read(self, start, stop):
        yield b"zip"[start:stop]
        yield b"ip"


@pytest.fixture(autouse=True, scope="module")
def ray():
    require(importlib.util.find_spec("ray") is not None, "ray is not installed")
    with warnings.catch_warnings():
        # importing it declares pydantic fields in a way that pydantic has deprecated
        warnings.simplefilter("ignore")
        importlib.import_module("ray.serve")


def job(*, within_s=None, samples=1):
    deadline = None if within_s is None else time.monotonic() + within_s
    return Job(BUNDLE, WHOLE, (np.zeros((samples, 3), np.float32),), "client", deadline)


def loaded(*outcomes, **options):
    handle = StandInHandle(*outcomes, **options)
    engine = RayEngine(handle, StandInLibrary(), replicas=2, max_queue=7, max_wait_s=10.0)
    return engine, handle


def run(engine, *jobs, load=True):
    async def all_of_them():
        if load:
            await engine.load(StoredZip())
        return [await engine.run(one) for one in jobs]

    return asyncio.run(all_of_them())


def actor_died():
    from ray.exceptions import ActorDiedError

    return ActorDiedError()


def test_an_answer_is_a_result_that_outlives_rays_memory():
    engine, handle = loaded(ANSWER)
    (result,) = run(engine, job(samples=2))
    assert result.batch == 4
    assert result.compute_ms == 2.0
    np.testing.assert_array_equal(result.outputs[0], ANSWER["outputs"][0])
    assert not np.shares_memory(result.outputs[0], ANSWER["outputs"][0])
    bundle_id, cut, arrays, budget_ms = handle.asked[0]
    assert (bundle_id, cut, len(arrays), budget_ms) == (BUNDLE, WHOLE, 1, None)
    assert handle.bundle_id == BUNDLE  # so that Ray prefers a replica that holds it


def test_loading_gives_the_zip_to_the_library_and_asks_every_replica():
    engine, handle = loaded(loads=[{"info": {"entries": []}}] * 2)
    run(engine)
    sha256, data = engine._library.held[BUNDLE]
    assert (sha256, data.tobytes()) == ("b" * 64, b"zipip")
    assert handle.told == [("load", BUNDLE)]
    assert len(engine.status()["bundles"][BUNDLE]["replicas"]) == 2
    engine.check_ready()
    engine.check_ready(BUNDLE)


def test_a_bundle_that_one_replica_cannot_prove_is_not_served():
    fault = IntegrityFault("12 dB.", file="tail", expected="60 dB.", remedy="Export again.")
    engine, _ = loaded(loads=[{"fault": to_fault(fault)}])
    with pytest.raises(IntegrityFault, match="12 dB"):
        run(engine)
    with pytest.raises(NotReady, match="12 dB"):
        engine.check_ready(BUNDLE)
    with pytest.raises(NotReady):
        engine.check_ready()


def test_a_bundle_that_is_being_loaded_is_not_ready():
    engine, _ = loaded()
    with pytest.raises(NotReady, match="being loaded"):
        run(engine, job(), load=False)


def test_an_unloaded_bundle_leaves_library_and_replicas():
    engine, handle = loaded()

    async def load_and_unload():
        await engine.load(StoredZip())
        await engine.unload(BUNDLE)
        await engine.unload("c" * 64)  # none of its business

    asyncio.run(load_and_unload())
    assert engine._library.held == {}
    assert handle.told[-1] == ("unload", BUNDLE)
    with pytest.raises(NotReady):
        engine.check_ready(BUNDLE)


def test_a_lost_replica_is_replaced_once_without_the_client_noticing():
    engine, handle = loaded(actor_died(), ANSWER)
    assert run(engine, job())[0].batch == 4
    assert len(handle.asked) == 2
    assert engine.status()["cluster"]["retried"] == 1


def test_two_lost_replicas_are_a_503():
    engine, handle = loaded(actor_died(), actor_died())
    with pytest.raises(NotReady, match="lost, 2 times"):
        run(engine, job())
    assert len(handle.asked) == 2


def test_nothing_is_sent_twice_behind_the_deadline():
    engine, handle = loaded(actor_died(), ANSWER)
    late = Job(BUNDLE, WHOLE, job().arrays, "client", time.monotonic() - 1)
    with pytest.raises(DeadlinePassed):
        run(engine, late)
    assert handle.asked == []


def test_no_answer_by_the_deadline_is_a_504_and_cancels_the_request():
    engine, handle = loaded("never")
    with pytest.raises(DeadlinePassed, match="by the deadline"):
        run(engine, job(within_s=0.02))
    assert handle.responses[0].cancelled
    budget_ms = handle.asked[0][3]
    assert 0 < budget_ms <= 20


def test_a_replica_that_came_too_late_to_it_is_a_504():
    engine, _ = loaded({"late": 12.0})
    with pytest.raises(DeadlinePassed):
        run(engine, job(within_s=30))


def test_a_full_queue_is_a_429_with_the_time_that_it_takes():
    from ray.serve.exceptions import BackPressureError

    refusal = BackPressureError(num_queued_requests=7, max_queued_requests=7)
    engine, _ = loaded(ANSWER, refusal)
    with pytest.raises(Shed, match="7 requests wait") as shed:
        run(engine, job(), job())
    assert shed.value.retry_after_s >= 0.1
    assert shed.value.http_status == 429
    assert engine.status()["cluster"]["shed"] == 1


def test_what_would_wait_past_its_deadline_is_shed_before_it_is_sent():
    slow = ANSWER | {"compute_ms": 4000.0, "batch": 1}
    engine, handle = loaded(slow, "never", "never")

    async def crowd():
        await engine.load(StoredZip())
        await engine.run(job())  # from which it learns
        running = [asyncio.ensure_future(engine.run(job())) for _ in range(2)]
        for _ in range(10):  # turns of the loop, until both are on their way
            await asyncio.sleep(0)
        assert engine.status()["queue"] == {"jobs": 2, "bytes": 2 * 12}
        with pytest.raises(Shed, match="would wait 400 ms") as shed:
            await engine.run(job(within_s=0.1))
        assert 0.2 <= shed.value.retry_after_s <= 0.4
        for task in running:
            task.cancel()
        await asyncio.wait(running)

    asyncio.run(crowd())
    assert len(handle.asked) == 3


def test_a_fault_of_the_tail_keeps_its_class():
    fault = TensorMismatch("Two.", expected="One.", remedy="Send one.")
    engine, _ = loaded({"fault": to_fault(fault)})
    with pytest.raises(TensorMismatch, match="Two"):
        run(engine, job())


def test_whatever_else_fails_in_a_replica_is_an_error_of_ours():
    engine, _ = loaded({"fault": to_fault(ValueError("no"))})
    with pytest.raises(HeadtailError, match="ValueError: no") as failed:
        run(engine, job())
    assert failed.value.http_status == 500


def test_a_client_that_goes_away_takes_its_request_back():
    engine, handle = loaded("never")

    async def leave():
        await engine.load(StoredZip())
        waiting = asyncio.ensure_future(engine.run(job()))
        while not handle.responses and not waiting.done():
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(leave())
    assert handle.responses[0].cancelled


def test_closing_waits_for_what_runs_and_refuses_what_comes():
    engine, _ = loaded(ANSWER)

    async def close():
        await engine.load(StoredZip())
        running = asyncio.ensure_future(engine.run(job()))
        await asyncio.sleep(0)
        await engine.close()
        assert running.done()
        with pytest.raises(NotReady, match="ending"):
            await engine.run(job())
        return await running

    assert asyncio.run(close()).batch == 4
