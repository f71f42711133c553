"""Trying a server that does not answer, or not as it should; one that does: `test_whole`."""

import contextlib

import pytest

from app.servers import Servers
from app.servers.trial import Trial, try_server
from headtail.errors import ServerUnreachable
from headtail.offload.client import Companion
from headtail.offload.refusals import KeyRefused, NotHeld
from tests.app.paired_server import paired_server


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with paired_server(tmp_path_factory.mktemp("state")) as made:
        yield made


def test_a_server_that_only_lists_says_what_is_missing(served):
    servers = Servers(None)
    with contextlib.closing(servers.companion(servers.pair(served.pairing.offer().uri))) as paired:
        assert paired.bundles() == []
        with pytest.raises(NotHeld):  # this one has no route for its readiness
            try_server(paired)


def test_without_a_key_the_refusal_says_what_to_do(served):
    pin = served.certificate.fingerprint
    with (
        contextlib.closing(Companion(served.url, pin=pin)) as companion,
        pytest.raises(KeyRefused, match="Pair this device again"),
    ):
        try_server(companion)


def test_nobody_there():
    with (
        contextlib.closing(Companion("http://127.0.0.1:9")) as companion,
        pytest.raises(ServerUnreachable),
    ):
        try_server(companion)


@pytest.mark.parametrize(
    ("trial", "sentence"),
    [
        (Trial(1.0, ready=True, bundles=1), "It answers and has 1 bundle to offer."),
        (Trial(1.0, ready=True, bundles=0), "It answers and has 0 bundles to offer."),
        (Trial(1.0, ready=False, bundles=2), "It answers, but is still loading."),
    ],
)
def test_in_words(trial, sentence):
    assert trial.sentence() == sentence
