"""The engine over a real executor thread and a real tail, which can be held at its end."""

import asyncio
import contextlib
import threading
import time

import numpy as np
import pytest

from companion_server.conditions import DeadlinePassed, NotReady, Shed
from companion_server.executor.places import ThreadPlace
from companion_server.jobs import WHOLE, Job, Result
from companion_server.scheduler import LocalEngine, QueueLimits
from companion_server.store import BundleStore
from companion_server.tails import TailRunner, read_program
from headtail.errors import IntegrityFault
from tests.companion_server.conftest import write_bundle
from tests.companion_server.gated import Gated

ENTRIES = {
    WHOLE: ("input.{}.x",),
    "c1": ("cut.c1.{}.relu",),
    "c2": ("cut.c2.{}.relu", "cut.c2.{}.relu_1"),
}


@pytest.fixture(scope="module")
def store(bundle):
    held = BundleStore([bundle.path])
    yield held
    held.close()


class Rig:
    """One engine with one bundle, on this test's event loop."""

    def __init__(self, stored, golden, gate, limits):
        self.stored, self.golden, self.gate = stored, golden, gate
        place = ThreadPlace(lambda: TailRunner(load_program=gate.load))
        self.engine = LocalEngine([place], limits=limits)

    def job(self, cut=WHOLE, *, sample=0, client="a", left_s=None):
        arrays = tuple(self.golden[name.format(sample)] for name in ENTRIES[cut])
        deadline = None if left_s is None else time.monotonic() + left_s
        return Job(self.stored.bundle_id, cut, arrays, client, deadline)

    def ask(self, *arguments, **options):
        return asyncio.ensure_future(self.engine.run(self.job(*arguments, **options)))

    async def hold(self):
        """Keep the executor busy with a job of its own; the task of that."""
        self.gate.hold()
        held = self.ask(client="holder")
        await asyncio.to_thread(self.gate.reached.wait, 30)
        return held

    def is_answer(self, result, sample=0):
        for i, output in enumerate(result.outputs):
            np.testing.assert_allclose(
                output, self.golden[f"output.{sample}.output_{i}"], rtol=1e-4, atol=1e-5
            )


@pytest.fixture
def run(store, bundle):
    """Run `scenario(rig)`."""

    def run(scenario, **limits):
        async def main():
            gate = Gated()
            rig = Rig(store.version("toy"), bundle.golden(), gate, QueueLimits(**limits))
            await rig.engine.start()
            try:
                await rig.engine.load(rig.stored)
                # as if a batch cost hardly more than one sample: these tests are about the queue
                held = rig.engine._held[rig.stored.bundle_id]
                assert held.costs
                held.costs._table = {cut: [(1, 1.0), (64, 1.2)] for cut in ENTRIES}
                await asyncio.wait_for(scenario(rig), 60)
            finally:
                gate.release()
                await rig.engine.close()

        asyncio.run(main())

    return run


def test_every_entry_gives_the_golden_outputs(run):
    async def scenario(rig):
        for cut in ENTRIES:
            for sample in (0, 1):
                result = await rig.engine.run(rig.job(cut, sample=sample))
                rig.is_answer(result, sample)
                assert result.batch == 1

    run(scenario)


def test_what_gathers_while_a_batch_runs_is_computed_together(run):
    async def scenario(rig):
        holder = await rig.hold()
        asked = [rig.ask("c1", sample=i % 2, client=str(i)) for i in range(5)]
        await asyncio.sleep(0)
        rig.gate.release()
        results = await asyncio.gather(*asked)
        await holder
        assert rig.gate.runs == [1, 5]
        for i, result in enumerate(results):
            assert result.batch == 5
            assert result.queue_ms > 0
            rig.is_answer(result, i % 2)

    run(scenario)


def test_jobs_of_different_cuts_join_on_the_way(run):
    async def scenario(rig):
        holder = await rig.hold()
        asked = [(rig.ask(cut, sample=s), s) for s in (0, 1) for cut in ("c2", WHOLE, "c1")]
        await asyncio.sleep(0)
        rig.gate.release()
        for task, sample in asked:
            result = await task
            assert result.batch == 6
            rig.is_answer(result, sample)
        await holder
        assert rig.gate.runs == [1, 6]  # one run of the end, for all three cuts

    run(scenario)


def test_no_batch_is_larger_than_allowed(run):
    async def scenario(rig):
        holder = await rig.hold()
        asked = [rig.ask() for _ in range(5)]
        await asyncio.sleep(0)
        rig.gate.release()
        await asyncio.gather(holder, *asked)
        assert rig.gate.runs == [1, 2, 2, 1]

    run(scenario, max_batch=2)


def test_where_batching_does_not_pay_there_is_none(run):
    async def scenario(rig):
        costs = rig.engine._held[rig.stored.bundle_id].costs
        costs._table = {cut: [(1, 1.0), (64, 64.0)] for cut in ENTRIES}
        holder = await rig.hold()
        asked = [rig.ask() for _ in range(3)]
        await asyncio.sleep(0)
        rig.gate.release()
        await asyncio.gather(holder, *asked)
        assert rig.gate.runs == [1, 1, 1, 1]

    run(scenario)


def test_clients_take_turns(run):
    async def scenario(rig):
        holder, order = await rig.hold(), []
        asked = [rig.ask(client="greedy") for _ in range(6)] + [rig.ask(client="modest")]
        for name, task in zip("ggggggm", asked, strict=True):
            task.add_done_callback(lambda _, name=name: order.append(name))
        await asyncio.sleep(0)
        rig.gate.release()
        await asyncio.gather(holder, *asked)
        assert order.index("m") <= 1

    run(scenario, max_batch=1)


def test_a_client_that_leaves_takes_its_job_out_of_the_queue(run):
    async def scenario(rig):
        holder = await rig.hold()
        gone, stays = rig.ask(), rig.ask()
        await asyncio.sleep(0)
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
        assert rig.engine.status()["queue"] == {"jobs": 1, "bytes": rig.job().nbytes}
        rig.gate.release()
        rig.is_answer(await stays)
        await holder
        assert rig.gate.runs == [1, 1]

    run(scenario)


def test_a_deadline_that_has_passed_computes_nothing(run):
    async def scenario(rig):
        rig.gate.hold()
        with pytest.raises(DeadlinePassed, match="were left of the deadline"):
            await rig.engine.run(rig.job(left_s=-0.1))
        assert rig.gate.runs == []

    run(scenario)


def test_what_becomes_late_in_the_queue_is_dropped_before_compute(run):
    async def scenario(rig):
        holder = await rig.hold()
        rig.engine._executors[0].until = 0.0  # it should have been done long ago
        late = rig.ask(left_s=0.05)
        await asyncio.sleep(0.1)
        rig.gate.release()
        with pytest.raises(DeadlinePassed):
            await late
        await holder
        assert rig.gate.runs == [1]

    run(scenario)


def test_a_job_that_could_not_be_in_time_is_shed_at_once_with_an_honest_wait(run):
    async def scenario(rig):
        holder = await rig.hold()
        rig.engine._executors[0].until = time.monotonic() + 2.0  # its batch takes two more seconds
        with pytest.raises(Shed) as caught:
            await rig.engine.run(rig.job(left_s=0.5))
        assert caught.value.reason == "deadline"
        assert caught.value.retry_after_s == pytest.approx(1.5, abs=0.1)
        patient = rig.ask(left_s=3.0)
        await asyncio.sleep(0)
        assert not patient.done()
        rig.gate.release()
        await asyncio.gather(holder, patient)

    run(scenario)


def test_a_free_executor_tries_whatever_was_predicted(run):
    async def scenario(rig):
        rig.engine._held[
            rig.stored.bundle_id
        ].costs._factor = 1e6  # it was measured in a bad moment
        rig.is_answer(await rig.engine.run(rig.job(left_s=5.0)))

    run(scenario)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_jobs": 2}, "queue"),
        ({"max_bytes": 2 * 768}, "memory"),
        ({"max_wait_s": 0.5}, "wait"),
    ],
)
def test_what_may_wait_is_bounded(run, limits, reason):
    async def scenario(rig):
        holder = await rig.hold()
        rig.engine._executors[0].until = time.monotonic() + 1.0  # its batch takes a second more
        asked = [rig.ask() for _ in range(3)]
        await asyncio.sleep(0)
        refused = asked.pop(next(i for i, task in enumerate(asked) if task.done()))
        with pytest.raises(Shed) as caught:
            refused.result()
        assert caught.value.reason == reason
        assert caught.value.retry_after_s > 0
        rig.gate.release()
        found = await asyncio.gather(holder, *asked, return_exceptions=True)
        assert all(isinstance(one, (Shed, Result)) for one in found)

    run(scenario, **limits)


def test_a_lost_executor_is_found_again_and_its_jobs_are_computed(run):
    async def scenario(rig):
        holder = await rig.hold()
        waiting = rig.ask(client="other", sample=1)
        await asyncio.sleep(0)
        rig.engine._executors[0].drop()  # the line breaks under the running batch
        rig.gate.release()
        rig.is_answer(await holder)
        rig.is_answer(await waiting, sample=1)
        assert rig.engine.status()["executors"] == [
            {"connected": True, "busy": False, "restarts": 1}
        ]

    run(scenario)


def test_unloading_waits_for_what_was_accepted_and_takes_nothing_more(run):
    async def scenario(rig):
        holder = await rig.hold()
        waiting = rig.ask()
        await asyncio.sleep(0)
        unloading = asyncio.ensure_future(rig.engine.unload(rig.stored.bundle_id))
        await asyncio.sleep(0)
        with pytest.raises(NotReady, match="is not loaded"):
            await rig.engine.run(rig.job())
        assert not unloading.done()
        rig.gate.release()
        await asyncio.gather(holder, waiting)
        await unloading
        assert rig.engine.status()["bundles"] == {}
        await rig.engine.load(rig.stored)
        rig.is_answer(await rig.engine.run(rig.job()))

    run(scenario)


def test_closing_finishes_what_runs_and_refuses_what_waits(run):
    async def scenario(rig):
        holder = await rig.hold()
        waiting = rig.ask()
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(rig.engine.close())
        with pytest.raises(NotReady, match="shutting down"):
            await waiting
        rig.gate.release()
        rig.is_answer(await holder)
        await closing

    run(scenario)


def test_a_tail_that_misses_its_golden_outputs_is_broken_and_not_loading(tmp_path):
    async def main():
        store = BundleStore([write_bundle(tmp_path, spoil=True).path])
        place = ThreadPlace(lambda: TailRunner(load_program=read_program))
        engine = LocalEngine([place], limits=QueueLimits())
        await engine.start()
        try:
            stored = store.version("toy")
            with pytest.raises(IntegrityFault, match="dB"):
                await engine.load(stored)
            with pytest.raises(NotReady, match="could not be loaded"):
                engine.check_ready(stored.bundle_id)
            assert engine.status()["bundles"][stored.bundle_id]["state"] == "broken"
        finally:
            await engine.close()
            store.close()

    asyncio.run(main())


def test_a_bundle_whose_loading_ends_the_executor_is_given_up(store, bundle, tmp_path):
    """Others are served; the executor's end is a closed line, as a crash of a process is."""
    other = write_bundle(tmp_path, name="deadly", seed=5)

    async def main():
        held, loop = BundleStore([other.path]), asyncio.get_running_loop()
        loads = []

        def load(program, weights):
            if "deadly" in str(program):
                loads.append(program)
                gone = threading.Event()

                def end():
                    engine._executors[0].drop()
                    gone.set()

                loop.call_soon_threadsafe(end)
                assert gone.wait(10)
            return read_program(program, weights)

        place = ThreadPlace(lambda: TailRunner(load_program=load))
        engine = LocalEngine([place], limits=QueueLimits())
        await engine.start()
        try:
            await engine.load(store.version("toy"))
            with pytest.raises(IntegrityFault, match="ended the executor 3 times"):
                await asyncio.wait_for(engine.load(held.version("deadly")), 30)
            golden = bundle.golden()
            job = Job(bundle.manifest.bundle_id, WHOLE, (golden["input.0.x"],), "a", None)
            result = await asyncio.wait_for(engine.run(job), 30)
            assert np.allclose(result.outputs[0], golden["output.0.output_0"], atol=1e-5)
            assert len(loads) == 3
        finally:
            await engine.close()
            held.close()

    asyncio.run(main())
