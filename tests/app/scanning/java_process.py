"""Android's reader of codes, in a process that holds its JVM.

`python -m tests.app.scanning.java_process`, started by `tests.java.toolchain.Jvm.run`; the last
line is JSON: check -> what went wrong, or nothing.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable

import numpy as np

from app.scanning.readers import CodeReader, luma_of
from app.scanning.zxing_java import ZXingJava
from tests.app.scanning.qr_pictures import LINK, rotated
from tests.app.scanning.reader_contract import CHECKS
from tests.java.toolchain import start_jvm


def check_another_thread_reads_and_is_let_go(reader: CodeReader) -> None:
    """As the app does: probed on the main thread, used and left on another one."""
    told: list[object] = []

    def work() -> None:
        told.append(reader.decode(luma_of(rotated(10))))
        reader.leave_thread()

    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(20)
    assert told == [[LINK]] * 3


def check_a_frame_crosses_as_bytes(reader: CodeReader) -> None:
    """As a list, 307,200 numbers would cost more than the reading itself."""
    from jnius import autoclass

    plane = autoclass("com.google.zxing.PlanarYUVLuminanceSource")
    luma = np.zeros((480, 640), np.uint8)
    spent = []
    for given in (luma.tobytes, luma.view(np.int8).reshape(-1).tolist):
        started = time.thread_time()
        plane(given(), 640, 480, 0, 0, 640, 480, False)
        spent.append(time.thread_time() - started)
    assert spent[0] * 5 < spent[1], spent


def main() -> None:
    """See the module."""
    start_jvm()
    reader = ZXingJava()
    extra = (check_another_thread_reads_and_is_let_go, check_a_frame_crosses_as_bytes)
    print(json.dumps({check.__name__: _tried(check, reader) for check in (*CHECKS, *extra)}))


def _tried(check: Callable[[CodeReader], None], reader: CodeReader) -> str:
    try:
        check(reader)
    except Exception:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    main()
