"""Where a server may listen, and what a browser may not send to one without keys."""

import pytest

from companion_server.security.binding import (
    check_binding,
    check_from_this_machine,
    check_peer,
    is_loopback,
)
from companion_server.security.refusals import Forbidden
from headtail.errors import UsageFault

LOOPBACK = ("127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LOCALHOST")
WIDER = ("0.0.0.0", "::", "", "192.168.1.2", "10.0.0.1", "fe80::1", "example.org", "myhost")


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_needs_nothing(host):
    assert is_loopback(host)
    assert check_binding(host, keys=False, tls=False) is None


@pytest.mark.parametrize("host", WIDER)
def test_wider_needs_keys(host):
    for tls in (False, True):
        with pytest.raises(UsageFault, match="must not listen on"):
            check_binding(host, keys=False, tls=tls)
    assert check_binding(host, keys=True, tls=True) is None
    warning = check_binding(host, keys=True, tls=False)
    assert warning is not None
    assert "in the clear" in warning


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "", "testclient"])
def test_peers_on_this_machine(host):
    check_peer(host)


@pytest.mark.parametrize("host", ["192.0.2.7", "10.0.0.1", "fe80::1", "[2001:db8::1]", "0.0.0.0"])
def test_peers_elsewhere(host):
    with pytest.raises(Forbidden, match="programs on this machine"):
        check_peer(host)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "127.0.0.1:8707"},
        {"host": "[::1]:8707"},
        {"host": "localhost"},
        {"host": "model.localhost:80"},
        {"host": "192.168.1.5:8707"},
        {"host": "testserver"},
        {"host": "localhost:8707", "origin": "http://localhost:8707"},
        {"host": "localhost:8707", "sec-fetch-site": "same-origin"},
        {"host": "localhost:8707", "sec-fetch-site": "none"},
    ],
)
def test_programs_and_the_own_page_may(headers):
    check_from_this_machine([(n.encode(), v.encode()) for n, v in headers.items()])


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:8707"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "a.b"},
        {"host": "localhost:8707", "origin": "https://evil.example"},
        {"host": "localhost:8707", "origin": "http://localhost:9999"},
        {"host": "localhost:8707", "origin": "null"},
        {"host": "localhost:8707", "sec-fetch-site": "cross-site"},
        {"host": "localhost:8707", "sec-fetch-site": "same-site"},
        {"host": "localhost:8707", "origin": "http://[bad"},
    ],
)
def test_a_page_from_elsewhere_may_not(headers):
    with pytest.raises(Forbidden, match="programs on this machine"):
        check_from_this_machine([(n.encode(), v.encode()) for n, v in headers.items()])
