"""The phone payload: how large it is, of what it consists, and what importing it costs.

    PYTHONPATH=. python benchmarks/payload.py

`zip_bytes` is about what it adds to an APK, which packs compiled modules. Ends with one JSON line.
"""

from __future__ import annotations

import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

from headtail.stage import stage

CHECKOUT = Path(__file__).parents[1]
GOAL_BYTES = 1_000_000
RUNS = 11
IMPORT = """
import sys, time
sys.path.insert(0, {!r})
begin = time.perf_counter()
import app.application, app.platforms
print(time.perf_counter() - begin)
"""


def import_seconds(folder: Path) -> float:
    """Everything of the app that does not need kivy, bytecode in place."""
    code = IMPORT.format(str(folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Stage, count, import."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "phone"
        begin = time.perf_counter()
        report = stage(folder, checkout=CHECKOUT)
        stage_s = time.perf_counter() - begin
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        tops: Counter[str] = Counter()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                name = path.relative_to(folder)
                tops[name.parts[0]] += path.stat().st_size
                archive.write(path, name.as_posix())
        import_seconds(folder)
        times = [import_seconds(folder) for _ in range(RUNS)]
    print(
        json.dumps(
            {
                "benchmark": "payload",
                "files": report.files,
                "bytes": report.bytes,
                "bytes_by_folder": dict(tops),
                "zip_bytes": packed.getbuffer().nbytes,
                "stage_s": round(stage_s, 3),
                "import_without_kivy_s_p50": round(statistics.median(times), 3),
                "load_1m": round(os.getloadavg()[0], 1),
                "goal_bytes": GOAL_BYTES,
                "met": report.bytes <= GOAL_BYTES,
                "python": platform.python_version(),
            }
        )
    )


if __name__ == "__main__":
    main()
