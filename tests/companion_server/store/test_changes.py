import asyncio
import threading

from companion_server.store.changes import Changes


def test_everybody_who_waits_is_woken_from_any_thread():
    changes = Changes()

    async def wait():
        waiters = [asyncio.create_task(changes.wait(20)) for _ in range(3)]
        while changes.waiting < 3:
            await asyncio.sleep(0)
        thread = threading.Thread(target=changes.announce)
        thread.start()
        found = await asyncio.gather(*waiters)
        thread.join()
        return found

    assert asyncio.run(wait()) == [True] * 3
    assert changes.waiting == 0
    changes.announce()  # nobody is there, and the loop is closed


def test_nothing_happens():
    changes = Changes()
    assert asyncio.run(changes.wait(0.01)) is False
    assert changes.waiting == 0


def test_when_the_server_drains_nobody_waits():
    changes = Changes()

    async def wait():
        waiter = asyncio.create_task(changes.wait(20))
        while not changes.waiting:
            await asyncio.sleep(0)
        changes.end()
        return await waiter, await changes.wait(20)

    assert asyncio.run(wait()) == (False, False)
