"""What this process holds, by the kernel's own count; in a process that does nothing else."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.capabilities import require

SIZE = 64 << 20
STEPS = f"""
import json
from companion_server.tails.memory import anonymous_bytes
seen = [anonymous_bytes()]
held = bytearray(b"x") * {SIZE}
seen.append(anonymous_bytes())
del held
seen.append(anonymous_bytes())
print(json.dumps(seen))
"""


def test_it_grows_by_what_is_taken_and_shrinks_when_that_is_given_back():
    require(Path("/proc/self/status").exists(), "there is no /proc here")
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", STEPS], cwd=root, capture_output=True, check=True)
    before, full, after = json.loads(done.stdout)
    assert SIZE <= full - before < 1.1 * SIZE
    assert after - before < 0.1 * SIZE
