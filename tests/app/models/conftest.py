"""A library in a folder of its own, a server of downloads, and the test as the UI thread."""

import contextlib
import queue
import time
from typing import Any

import numpy as np
import pytest

from app.models.presenter import ModelsPresenter, Viewer
from app.platforms import find_platform
from app.servers import Servers
from app.settings.preferences import PreferenceStore
from headtail.bundle import BundleWriter, pack_zip
from headtail.tensorfile import dump
from tests.support.bundles import FILES, golden_tensors, manifest_of
from tests.support.range_server import RangeServer

SETTLED_LIMIT_S = 15
SIZE = 200_000  # bytes
CUT = 96 << 10  # where downloads are cut: a whole number of pieces


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return sized_bundle(tmp_path_factory.mktemp("tiny"), name="tiny")


def sized_bundle(folder, *, name, size=SIZE):
    """As `tests.support.bundles.tiny_bundle`, with weights of `size` bytes: more than one piece of
    a download."""
    with BundleWriter(folder / f"{name}.bundle") as writer:
        for rel, data in FILES.items():
            bulk = np.random.default_rng(1).bytes(size)
            writer.add(rel, bulk if rel == "tail/weights.safetensors" else data)
        golden = golden_tensors()
        writer.add("golden.safetensors", dump(golden))
        return writer.publish(manifest_of(golden, name=name))


@pytest.fixture(scope="session")
def zipped(bundle, tmp_path_factory):
    path = tmp_path_factory.mktemp("zip") / "tiny.zip"
    pack_zip(bundle, path)
    return path


@pytest.fixture
def origin(bundle, zipped):
    with RangeServer(bundle.manifest.bundle_id, zipped.read_bytes()) as served:
        served.stall_after = CUT
        yield served


class Ui:
    """Runs what the threads hand over, until the state is as wanted."""

    def __init__(self):
        self.calls: queue.Queue[Any] = queue.Queue()
        self.states = []
        self.opened = []

    def until(self, reached):
        end = time.monotonic() + SETTLED_LIMIT_S
        while not reached(self.states[-1]):
            assert time.monotonic() < end, self.states[-1]
            with contextlib.suppress(queue.Empty):
                self.calls.get(timeout=1)()
        return self.states[-1]


@pytest.fixture
def ui():
    return Ui()


@pytest.fixture
def start(tmp_path, ui):
    """Starts the presenter on `tmp_path`, as the app does; called again, it is the next start."""
    presenters = []

    def make(**preferences):
        ui.calls = queue.Queue()  # what the app's former life handed over is lost with it
        store = PreferenceStore(tmp_path / "preferences.json")
        store.change(**preferences)
        presenter = ModelsPresenter(
            tmp_path,
            platform=find_platform("linux"),
            preferences=store,
            servers=Servers(None),
            hand_over=ui.calls.put,
            viewer=Viewer(ui.opened.append, ui.opened.clear),
        )
        presenter.subscribe(ui.states.append)
        presenters.append(presenter)
        return presenter

    yield make
    for presenter in presenters:
        assert presenter.close()
