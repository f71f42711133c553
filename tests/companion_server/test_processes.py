"""What a server process does before it serves, in a real process of its own."""

import contextlib
import gc
import multiprocessing
import socket

import pytest

from companion_server.processes import WebTask, run_executor, run_web
from companion_server.settings import Settings

WAIT_S = 60


def frozen_objects(told, folder):
    """Tell how many objects the collector leaves alone after each process's start.

    Neither comes to serve: the one has no bundle there, the other a socket that does not listen.
    """
    chosen = Settings.of(tls=False, auth=False, tune=False, state_dir=folder / "state")
    with socket.socket() as closed:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        run_web(WebTask(chosen, "http://127.0.0.1:1", [folder / "none"], [], []), closed, theirs)
        kind, _ = ours.recv()
        told.send((kind, gc.get_freeze_count()))
        gc.unfreeze()
        with contextlib.suppress(OSError):
            run_executor(closed, chosen)
        told.send(("failed", gc.get_freeze_count()))


@pytest.mark.slow
def test_what_was_imported_is_left_out_of_garbage_collection(tmp_path):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=frozen_objects, args=(theirs, tmp_path))
    child.start()
    theirs.close()
    try:
        for name in ("web", "executor"):
            assert ours.poll(WAIT_S), name
            kind, count = ours.recv()
            assert kind == "failed"
            assert count > 10_000, name
    finally:
        child.kill()
        child.join()
