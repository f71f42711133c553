"""An ASGI application behind a real uvicorn on a real socket, in a thread of this process."""

import contextlib
import socket
import threading
import time

import pytest


def poll(condition, *, within_s=10.0):
    """Wait until `condition()` is true; its value, or the last one."""
    until = time.monotonic() + within_s
    pause = threading.Event()
    while not (value := condition()) and time.monotonic() < until:
        pause.wait(0.005)
    return value


@contextlib.contextmanager
def serving(app, **config):
    """The port at which `app` answers until the `with` ends."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    settings = {"log_config": None, "ws": "none", "lifespan": "off", **config}
    server = uvicorn.Server(uvicorn.Config(app, **settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert poll(lambda: server.started)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture
def serve():
    with contextlib.ExitStack() as stack:
        yield lambda app, **config: stack.enter_context(serving(app, **config))
