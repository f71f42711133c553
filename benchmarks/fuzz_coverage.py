"""The child of `fuzz_wire.py`: every parser under libFuzzer, chosen by the first byte.

python -m benchmarks.fuzz_coverage BUNDLE [libFuzzer's options]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["headtail", "companion_server"], enable_loader_override=False
):
    from benchmarks.fuzz_frames import targets
    from benchmarks.server_rig import Subject
    from headtail.errors import HeadtailError


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    held = targets(Subject.open(Path(sys.argv[1]), None))

    def test_one(data: bytes) -> None:
        if data:
            target = held[data[0] % len(held)]
            try:
                target.run(target.repair(data[1:]) if data[0] & 0x80 else data[1:])
            except HeadtailError:
                return

    with tempfile.TemporaryDirectory(prefix="headtail-fuzz-") as folder:
        for number, target in enumerate(held):
            for place, seed in enumerate(target.seeds):
                if len(seed) < 1 << 16:
                    Path(folder, f"{number}-{place}").write_bytes(bytes([number]) + seed)
        atheris.Setup([sys.argv[0], *sys.argv[2:], folder], test_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
