"""Who sees what when: versions become visible after their tails are loaded, and leave before."""

import asyncio
import contextlib
import shutil

import pytest

from companion_server.conditions import NotReady
from companion_server.store import BundleStore, Lifecycle, StoreRules
from companion_server.store.uploads import Piece
from headtail.bundle.signature import make_key, sign
from headtail.errors import BundleMismatch, IntegrityFault, UnknownName
from tests.support.bundles import tiny_bundle
from tests.support.folders import names
from tests.support.publishing import IdleEngine, zipped

FAULT = IntegrityFault("The tail is off.", file="tail", expected="E.", remedy="R.")


@contextlib.asynccontextmanager
async def running(paths, engine=None, *, linger_s=0.1, **rules):
    store = BundleStore(paths, rules=StoreRules(**rules))
    lifecycle = Lifecycle(store, engine or IdleEngine(), check_every_s=0.01, linger_s=linger_s)
    try:
        await lifecycle.start()
        yield lifecycle
    finally:
        await lifecycle.close()
        store.close()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


def accept(lifecycle, bundle, allow=lambda _model: None, *, owner="", data=None):
    """The upload's last byte has come."""
    data, bundle_id = data or zipped(bundle), bundle.manifest.bundle_id
    with lifecycle.uploads.open(Piece(bundle_id, 0, len(data), len(data), owner)) as part:
        part.write(data)
    lifecycle.accept(part, allow)
    return bundle_id


def state(lifecycle, bundle_id):
    try:
        return lifecycle.status(bundle_id)["state"]
    except UnknownName:
        return "unknown"


async def publish(lifecycle, bundle, **options):
    bundle_id = accept(lifecycle, bundle, **options)
    await until(lambda: state(lifecycle, bundle_id) not in ("checking", "loading"))
    return lifecycle.status(bundle_id)


def test_a_version_is_visible_when_its_tail_is_loaded_and_not_before(root, tiny):
    async def story():
        engine = IdleEngine()
        async with running([root], engine) as lifecycle:
            engine.hold = True
            bundle_id = accept(lifecycle, tiny)
            assert lifecycle.known(bundle_id)
            await until(lambda: engine.events)
            assert state(lifecycle, bundle_id) == "loading"
            assert lifecycle.store.bundles == {}
            lifecycle.check_ready()  # what is not there yet does not count
            engine.hold = False
            await until(lambda: state(lifecycle, bundle_id) == "live")
            assert lifecycle.store.version("tiny", "latest").bundle_id == bundle_id
            assert engine.events == [("load", bundle_id)]

    asyncio.run(story())


def test_what_another_key_sends_under_the_same_id_spoils_nothing(root, tiny):
    async def story():
        async with running([root]) as lifecycle:
            bundle_id = tiny.manifest.bundle_id
            accept(lifecycle, tiny, owner="bad", data=b"nonsense")
            accept(lifecycle, tiny, owner="good")
            accept(lifecycle, tiny, owner="late")
            seen = set()

            def done():
                seen.add(lifecycle.status(bundle_id, "good")["state"])
                return "live" in seen

            await until(done)
            assert seen <= {"checking", "loading", "live"}
            await until(lambda: names(root / "incoming") == [])
            assert lifecycle.status(bundle_id, "late")["state"] == "live"
            accept(lifecycle, tiny, owner="later")  # the last byte came after it was live
            await until(lambda: names(root / "incoming") == [])
            assert lifecycle.status(bundle_id)["state"] == "live"
            await lifecycle.remove(bundle_id)
            assert lifecycle.status(bundle_id, "bad")["state"] == "refused"
            with pytest.raises(UnknownName):
                lifecycle.status(bundle_id, "good")

    asyncio.run(story())


def test_a_server_is_ready_when_everything_that_it_serves_can_run(tiny, other):
    async def story():
        engine = IdleEngine()
        store = BundleStore([tiny.path, other.path])
        lifecycle = Lifecycle(store, engine)
        engine.hold = True
        starting = asyncio.create_task(lifecycle.start())
        await until(lambda: engine.events)
        with pytest.raises(NotReady, match="still being loaded"):
            lifecycle.check_ready()
        engine.hold = False
        await starting
        lifecycle.check_ready()
        engine.broken.add(other.manifest.bundle_id)
        with pytest.raises(NotReady, match="broken"):
            lifecycle.check_ready()
        await lifecycle.unload_model("other")  # on purpose
        lifecycle.check_ready()
        await lifecycle.close()
        store.close()

    asyncio.run(story())


def test_a_removed_version_is_gone_at_once_and_unloaded_later(root, tiny):
    async def story():
        engine = IdleEngine()
        async with running([root], engine) as lifecycle:
            bundle_id = (await publish(lifecycle, tiny))["bundle_id"]
            await lifecycle.remove(bundle_id)
            assert engine.events == [("load", bundle_id)]
            assert lifecycle.store.bundles == {}
            assert names(root / "bundles") == []
            with pytest.raises(UnknownName):
                lifecycle.status(bundle_id)
            await until(lambda: engine.events[-1] == ("unload", bundle_id))
            assert (await publish(lifecycle, tiny))["state"] == "live"
            assert [event for event, _ in engine.events] == ["load", "unload", "load"]

    asyncio.run(story())


def test_a_bundle_that_comes_back_while_it_lingers_is_still_loaded(root, tiny):
    async def story():
        engine = IdleEngine()
        async with running([root], engine, linger_s=60) as lifecycle:
            bundle_id = (await publish(lifecycle, tiny))["bundle_id"]
            await lifecycle.remove(bundle_id)
            assert (await publish(lifecycle, tiny))["state"] == "live"
            assert engine.events == [("load", bundle_id)]

    asyncio.run(story())


def test_a_refused_bundle_leaves_nothing_and_its_reason(root, tiny):
    async def story():
        engine = IdleEngine()
        engine.fault = FAULT
        async with running([root], engine) as lifecycle:
            told = await publish(lifecycle, tiny)
            assert told["state"] == "refused"
            assert "The tail is off" in told["error"]
            assert engine.events == [(e, told["bundle_id"]) for e in ("load", "unload")]
            assert names(root / "bundles") == names(root / "incoming") == []
            assert (await publish(lifecycle, tiny))["state"] == "live"  # another attempt

    asyncio.run(story())


def test_who_may_not_publish_this_model_is_told_so_and_nothing_is_stored(root, tiny):
    def allow(model):
        raise IntegrityFault(f"Not {model}.", file="", expected="E.", remedy="R.")

    async def story():
        engine = IdleEngine()
        async with running([root], engine) as lifecycle:
            told = await publish(lifecycle, tiny, allow=allow)
            assert "Not tiny." in told["error"]
            assert engine.events == []
            assert names(root / "bundles") == names(root / "incoming") == []

    asyncio.run(story())


@pytest.mark.parametrize("change", ["a byte", "all gone"])
def test_a_bundle_that_changes_on_disk_is_withdrawn(root, tiny, other, change):
    async def story():
        engine = IdleEngine()
        async with running([root, other.path], engine) as lifecycle:
            bundle_id = (await publish(lifecycle, tiny))["bundle_id"]
            stored = lifecycle.store.bundle(bundle_id)
            if change == "a byte":
                (stored.bundle.path / "tail/weights.safetensors").write_bytes(b"not weighed\n")
            else:
                shutil.rmtree(stored.bundle.path)
            await until(lambda: ("unload", bundle_id) in engine.events)
            told = lifecycle.status(bundle_id)
            assert told["state"] == "withdrawn"
            assert bundle_id in lifecycle.store.faults
            with pytest.raises(BundleMismatch, match="is withdrawn") as caught:
                lifecycle.store.version("tiny", bundle_id)
            assert caught.value.held == {}
            with pytest.raises(IntegrityFault):
                lifecycle.store.bundle(bundle_id)
            assert lifecycle.store.model_of(bundle_id) == "tiny"
            assert list(lifecycle.store.bundles) == [other.manifest.bundle_id]
            # publishing it again repairs it
            assert (await publish(lifecycle, tiny))["state"] == "live"
            assert lifecycle.store.faults == {}

    asyncio.run(story())


def test_a_change_while_the_tail_is_read_is_noticed(root, tiny):
    async def story():
        engine = IdleEngine()
        async with running([root], engine) as lifecycle:
            engine.hold = True
            bundle_id = accept(lifecycle, tiny)
            await until(lambda: engine.events)
            path = root / "bundles" / f"{bundle_id}.bundle" / "tail" / "program.json"
            path.write_bytes(b"{}")
            engine.hold = False
            await until(lambda: state(lifecycle, bundle_id) == "refused")
            assert "tail/program.json" in lifecycle.status(bundle_id)["error"]
            assert lifecycle.store.bundles == {}

    asyncio.run(story())


def test_at_start_a_published_bundle_may_be_broken_a_given_one_may_not(root, tiny, other):
    async def story():
        async with running([root]) as lifecycle:
            await publish(lifecycle, tiny)
            await publish(lifecycle, other)
        path = root / "bundles" / f"{tiny.manifest.bundle_id}.bundle"
        (path / "golden.safetensors").unlink()
        async with running([root]) as lifecycle:
            assert state(lifecycle, tiny.manifest.bundle_id) == "withdrawn"
            assert state(lifecycle, other.manifest.bundle_id) == "live"
            await lifecycle.remove(tiny.manifest.bundle_id)
            assert lifecycle.store.faults == {}
        engine = IdleEngine()
        engine.fault = FAULT
        async with running([root], engine) as lifecycle:
            assert state(lifecycle, other.manifest.bundle_id) == "withdrawn"
        engine.fault = FAULT
        with pytest.raises(IntegrityFault, match="The tail is off"):
            async with running([tiny.path], engine):
                raise AssertionError

    asyncio.run(story())


def test_only_trusted_keys_publish(root, tmp_path):
    bundle = tiny_bundle(tmp_path)
    key = make_key(tmp_path / "key.pem")

    async def story():
        async with running([root], trusted_keys=(key,)) as lifecycle:
            told = await publish(lifecycle, bundle)
            assert told["state"] == "refused"
            assert "is signed by nobody" in told["error"]
            sign(bundle, tmp_path / "key.pem")
            assert (await publish(lifecycle, bundle))["state"] == "live"
            assert lifecycle.store.version("tiny").summary()["signed_by"] == key
        async with running([root], trusted_keys=("0" * 64,)) as lifecycle:
            assert state(lifecycle, bundle.manifest.bundle_id) == "withdrawn"
        with pytest.raises(IntegrityFault, match="is signed by key"):
            BundleStore([bundle.path], rules=StoreRules(trusted_keys=("0" * 64,)))

    asyncio.run(story())


def test_a_model_can_be_unloaded_and_loaded(root, tiny):
    async def story():
        engine = IdleEngine()
        async with running([root], engine) as lifecycle:
            bundle_id = (await publish(lifecycle, tiny))["bundle_id"]
            await lifecycle.unload_model("tiny")
            assert state(lifecycle, bundle_id) == "unloaded"
            assert bundle_id in lifecycle.store.bundles  # for download
            await lifecycle.load_model("tiny")
            await lifecycle.load_model("tiny")
            assert state(lifecycle, bundle_id) == "live"
            assert [event for event, _ in engine.events] == ["load", "unload", "load"]
            with pytest.raises(UnknownName):
                await lifecycle.load_model("cat")

    asyncio.run(story())


def test_closing_ends_what_is_under_way(root, tiny):
    async def story():
        engine = IdleEngine()
        engine.hold = True
        async with running([root], engine) as lifecycle:
            accept(lifecycle, tiny)
            await until(lambda: engine.events)
        # it was whole and only unproven: the next server proves it
        async with running([root]) as lifecycle:
            assert state(lifecycle, tiny.manifest.bundle_id) == "live"

    asyncio.run(story())
