"""The proxy does what it says: else the failure matrix would prove nothing."""

import socket
import threading
import time

import pytest

from tests.support.fault_proxy import Fault, FaultProxy


@pytest.fixture
def echo():
    """An echo server's address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                while data := client.recv(4096):
                    client.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


@pytest.fixture
def proxy(echo):
    with FaultProxy(echo) as made:
        yield made


def connect(proxy):
    return socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=5)


def ask(sock, size):
    """Send and read back so many bytes: the bytes and the seconds."""
    started, found = time.monotonic(), b""
    sock.sendall(bytes(size))
    while len(found) < size:
        found += sock.recv(1 << 16)
    return found, time.monotonic() - started


def quickest(sock, size):
    """The seconds of the best of three: a busy machine only adds to what the link takes."""
    return min(ask(sock, size)[1] for _ in range(3))


def test_a_good_link_passes_everything_on(proxy):
    with connect(proxy) as sock:
        assert ask(sock, 100_000)[0] == bytes(100_000)
    assert proxy.bytes_up == 100_000


def test_shaping(proxy):
    proxy.fault = Fault(mbit_s=1.0, rtt_s=0.1)
    with connect(proxy) as sock:
        seconds = quickest(sock, 10_000)  # 80 ms each way, overlapping but for the last segment
    assert 0.18 < seconds < 0.5


def test_swallowing(proxy):
    with connect(proxy) as sock:
        ask(sock, 10)
        proxy.fault = Fault(swallow=True)
        sock.sendall(b"hello")
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_flipping_bits(proxy):
    proxy.fault = Fault(flip_down=100, spare=50)
    with connect(proxy) as sock:
        found, _ = ask(sock, 400)
    assert [i for i, byte in enumerate(found) if byte] == [50, 150, 250, 350]


def test_holding_back(proxy):
    proxy.fault = Fault(hold_s=0.2)
    with connect(proxy) as sock:
        assert 0.2 <= quickest(sock, 10) < 0.6
