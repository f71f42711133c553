"""A gRPC server on loopback, its event loop in a thread of this process."""

import asyncio
import contextlib
import threading
from concurrent.futures import Future

from companion_server.app import engine_in_process
from companion_server.grpc_calls import Calls
from companion_server.grpc_service import start_grpc
from companion_server.inference import Service
from companion_server.security.gate import Gate
from companion_server.settings import Settings
from companion_server.store import BundleStore


@contextlib.contextmanager
def serving_grpc(
    paths, *, gate=None, engine=None, tls=None, telemetry=None, bodies=None, **settings
):
    """Serve bundle directories until the `with` ends; gives the port."""
    chosen = Settings.of(tls=False, auth=False, **settings)
    with contextlib.closing(BundleStore(paths)) as store:
        runs = engine or engine_in_process(chosen)
        service = Service(store, runs, chosen.max_body_bytes, runs.check_ready)
        bound: Future[int] = Future()
        done = threading.Event()

        async def serve():
            server = await start_grpc(
                Calls(service, telemetry=telemetry, bodies=bodies),
                gate or Gate(None),
                host="127.0.0.1",
                port=0,
                tls=tls,
            )
            bound.set_result(server.port)
            await asyncio.to_thread(done.wait)
            await server.close(grace_s=1)

        thread = threading.Thread(target=lambda: asyncio.run(_with_engine(service, serve, bound)))
        thread.start()
        try:
            yield bound.result(30)
        finally:
            done.set()
            thread.join(30)


async def _with_engine(service, serve, bound):
    await service.engine.start()
    try:
        for stored in service.store.bundles.values():
            await service.engine.load(stored)
        await serve()
    except BaseException as error:
        if not bound.done():
            bound.set_exception(error)
        raise
    finally:
        await service.engine.close()
