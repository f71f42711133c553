"""What native code writes to standard error, as log lines of this process.

Runtimes write there past Python: ExecuTorch its remarks about the processor at every start, others
their last words before they abort. Each line becomes one of ours, in whatever form those have.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from typing import TextIO

__all__ = ["adopt_native_output"]

log = logging.getLogger(__name__)
_REMARK = re.compile(r"\[(cpuinfo_utils|threadpool)\.cpp:\d+\]")


def adopt_native_output() -> TextIO:
    """Let descriptor 2 be read by a thread of this process; where it led before, for `configure`.

    To be called once, before the log is configured.
    """
    # for as long as the process lives
    before = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    threading.Thread(target=_read, args=(reading,), name="native output", daemon=True).start()
    return before


def _read(descriptor: int) -> None:
    with os.fdopen(descriptor, errors="backslashreplace") as lines:
        for line in lines:
            level = logging.DEBUG if _REMARK.match(line) else logging.WARNING
            log.log(level, "%s", line.rstrip())
