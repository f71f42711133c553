import subprocess
import sys

SCRIPT = """
import logging, os, sys, threading
from companion_server.operations.logs import configure
from companion_server.operations.native import adopt_native_output

configure("json", stream=adopt_native_output())
os.write(2, b"[cpuinfo_utils.cpp:71] Reading file\\n")
os.write(2, b"corrupted double-linked list\\n\\xff\\n")
logging.getLogger("own").warning("ours")
[thread] = [t for t in threading.enumerate() if t.name == "native output"]
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the end of what is read; 2 stays open for the exit
thread.join(10)
"""


def test_native_lines_become_log_lines_and_remarks_are_quiet():
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    lines = ran.stderr.splitlines()
    assert all(line.startswith('{"time"') for line in lines)
    assert sum("corrupted double-linked list" in line for line in lines) == 1
    assert sum('"message": "ours"' in line for line in lines) == 1
    assert not any("cpuinfo" in line for line in lines)
    assert len(lines) == 3
