"""The golden vectors, replayed: every entry point of every artifact that this target runs."""

from __future__ import annotations

from device_tests.session import Session
from headtail.manifest import Artifact, Entry


def test_replays_golden_vectors(session: Session, runnable: Artifact, entry: Entry) -> None:
    replayed = session.replays.replayed(runnable, entry)
    session.replayed[(runnable.path, entry.name)] = replayed
    assert replayed.samples > 0
    assert not replayed.fault, replayed.fault
