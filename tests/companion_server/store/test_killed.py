"""`kill -9` at any moment of publishing, in real processes: the store is whole afterwards."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from companion_server.store import BundleStore
from headtail.bundle import open_bundle, pack_zip
from headtail.offload.link import Link, Origin
from headtail.offload.publish import Patience, Publisher
from tests.companion_server.conftest import write_bundle
from tests.support.bundles import tiny_bundle
from tests.support.folders import names
from tests.support.publishing import until

HERE = Path(__file__).parents[3]
KILLS = 25
# publishes two bundles and removes one of them, for ever; says "ready" before
CHURN = """
import shutil, sys
from pathlib import Path
from companion_server.store import BundleStore
root, archives = Path(sys.argv[1]), [Path(text) for text in sys.argv[2:]]
store = BundleStore([root])
store.writable().prepare()
print("ready", flush=True)
while True:
    for archive in archives:
        copy = root / "incoming" / "upload.zip"
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(archive, copy)
        stored = store.stage(copy, archive.stem, lambda model: None)
        store.add(stored)
        store.set_alias(stored.model, "prod", stored.bundle_id)
    store.set_alias(stored.model, "prod", None)
    store.remove(archives[-1].stem)
    store.discard(archives[-1].stem)
"""


@pytest.mark.slow
def test_a_store_killed_at_any_moment_holds_whole_bundles_only(root, tmp_path):
    archives = []
    for name in ("first", "second"):
        bundle = tiny_bundle(tmp_path, name=name)
        archives.append(tmp_path / f"{bundle.manifest.bundle_id}.zip")
        pack_zip(bundle, archives[-1])
    chance = random.Random(0)
    seen: set[tuple[str, ...]] = set()
    kills = 0
    while kills < KILLS or len(seen) < 2:  # until it was caught in different states, too
        kills += 1
        assert kills < 10 * KILLS
        process = subprocess.Popen(
            [sys.executable, "-c", CHURN, root, *archives],
            cwd=HERE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.08))  # the moment is the experiment
            process.kill()
        seen.add(tuple(check(root)))


def check(root):
    """What the next server finds: whole bundles, readable aliases, nothing left over."""
    for path in (root / "bundles").iterdir():
        open_bundle(path)
    store = BundleStore([root])
    assert store.faults == {}
    assert names(root / "incoming") == []
    for stored in store.bundles.values():
        store.version(stored.model)
    found = sorted(store.bundles)
    store.close()
    return found


class Server:
    """`headtail serve` on a folder, on a fixed port once it has one."""

    def __init__(self, root, state):
        self._root, self._state = root, state
        self.port = 0
        self.start()

    def start(self):
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "HEADTAIL_SERVER_STATE_DIR": str(self._state),
            "HEADTAIL_SERVER_TLS": "false",
            "HEADTAIL_SERVER_AUTH": "false",
            "HEADTAIL_SERVER_TUNE": "false",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headtail", "serve", self._root, "--port", str(self.port),
             "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.url = told["url"]
        self.port = Origin.parse(self.url).port

    def kill(self):
        """Every process of it at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.mark.slow
def test_a_server_killed_in_the_middle_of_an_upload_goes_on_where_it_stood(root, tmp_path):
    bundle = write_bundle(tmp_path)
    server = Server(root, tmp_path / "state")
    link = Link(Origin.parse(server.url))
    patience = Patience(request_s=10.0, lost_s=60.0, checks_s=60.0, pause_s=0.1)
    reached, killed = threading.Event(), threading.Event()

    def progress(done, _total):
        if done >= 6000 and not reached.is_set():
            reached.set()
            killed.wait(30)

    def kill_and_start():
        reached.wait(30)
        server.kill()
        killed.set()
        server.start()

    killer = threading.Thread(target=kill_and_start)
    killer.start()
    try:
        publisher = Publisher(link, patience=patience, piece_bytes=2000)
        done = publisher.publish(bundle.path, aliases=["prod"], progress=progress)
        killer.join()
        assert done.sent <= done.size + 2000  # one piece at most was sent twice
        assert publisher.status(done.bundle_id)["state"] == "live"
    finally:
        killer.join()
        link.close()
        server.kill()
    until(lambda: not alive(server.process.pid))
    assert check(root) == [done.bundle_id]


def alive(group):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False
