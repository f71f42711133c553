import asyncio
import contextlib

import pytest

from companion_server.answering import Caller, counted
from companion_server.conditions import Shed
from companion_server.operations.metrics import CLIENT_GONE, Metrics
from companion_server.operations.telemetry import Telemetry
from companion_server.security.scopes import ANONYMOUS, Principal
from headtail.errors import WireFault

PEER = Caller(ANONYMOUS, "192.168.1.7:51234")
PHONE = Caller(Principal("id7", "phone", ()), "192.168.1.7:51234")


class Kept(Telemetry):
    """Remembers the records that it finished."""

    def __init__(self):
        super().__init__(Metrics())
        self.records = []

    def finish(self, record, status):
        super().finish(record, status)
        self.records.append(record)


def test_a_connection_or_the_keys_holder_counts_in_the_queue():
    assert PEER.client == "192.168.1.7:51234"
    assert PHONE.client == "id7"


@pytest.mark.parametrize(
    ("error", "status", "shed"),
    [
        (None, 200, ""),
        (WireFault("a", expected="b", remedy="c"), 400, ""),
        (Shed("a", expected="b", retry_after_s=1, reason="queue"), 429, "queue"),
        (RuntimeError("a"), 500, ""),
        (asyncio.CancelledError(), CLIENT_GONE, ""),
    ],
)
def test_a_request_is_counted_however_it_ends(error, status, shed):
    telemetry = Kept()
    outcome = pytest.raises(type(error)) if error is not None else contextlib.nullcontext()
    with outcome, counted(telemetry, "grpc", PHONE, bytes_in=12):
        if error is not None:
            raise error
    (record,) = telemetry.records
    assert (record.protocol, record.status, record.shed) == ("grpc", status, shed)
    assert (record.client, record.client_name, record.bytes_in) == ("id7", "phone", 12)


def test_without_a_key_it_is_the_peers_address():
    telemetry = Kept()
    with counted(telemetry, "ws", PEER, bytes_in=0):
        pass
    assert telemetry.records[0].client == "192.168.1.7"


def test_nothing_is_counted_where_nobody_counts():
    with counted(None, "ws", PEER, bytes_in=0) as record:
        assert record is None
