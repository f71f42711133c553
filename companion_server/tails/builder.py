"""The process that builds code for a bundle's segments: `-m companion_server.tails.builder`.

It runs beside the server at the lowest priority, one per folder, and ends with the server. Each
file is loaded and compared with eager torch in here first, so that one that crashes ends this
process and not the one that serves.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from companion_server.tails.backends import BACKENDS, MOST_SAMPLES
from companion_server.tails.built import MOST_ATTEMPTS, BuiltFiles
from companion_server.tails.chain import Segment, divide
from companion_server.tails.program import read_program
from companion_server.tails.proof import MIN_GOLDEN_SNR_DB, Golden, lowest_snr_db

if TYPE_CHECKING:
    from headtail.bundle import Bundle

__all__ = ["ANOTHER_BUILDS", "build_all", "main"]

ANOTHER_BUILDS = 75  # exit status: the folder is locked by another builder (EX_TEMPFAIL)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_BUILDING = ".build-"


def main() -> int:
    """Build what the given bundle lacks in the given folder."""
    parser = argparse.ArgumentParser(prog="companion_server.tails.builder")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parent", type=int, help="whose end is this process's too")
    options = parser.parse_args()
    _step_back()
    if options.parent is not None and os.getppid() != options.parent:
        return 0  # it ended before this process could ask to be told
    built = BuiltFiles(options.folder)
    with (options.folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return ANOTHER_BUILDS
        for left in options.folder.glob(f"{_BUILDING}*"):
            shutil.rmtree(left, ignore_errors=True)
        build_all(options.bundle, built, threads=options.threads)
    return 0


def build_all(folder: Path, built: BuiltFiles, *, threads: int) -> None:
    """Build every file that is neither there nor known to fail, cheapest backend first."""
    import torch

    from headtail.bundle import Bundle
    from headtail.bundle.reading import load_manifest

    torch.set_num_threads(threads)
    bundle = Bundle(folder, load_manifest(folder))
    tail = bundle.manifest.tails[0]
    program = read_program(bundle.file(tail.program), bundle.file(tail.weights))
    chain = divide(bundle.manifest, program)
    golden = Golden(bundle.manifest, bundle.golden())
    most = 1 if program.one_sample else MOST_SAMPLES
    for name, backend in BACKENDS.items():
        if backend.write is None or backend.missing():
            continue
        for segment in chain.segments:
            _build(bundle, segment, name, golden, built, most=most, threads=threads)


def _build(
    bundle: Bundle, segment: Segment, name: str, golden: Golden, built: BuiltFiles, **how: int
) -> None:
    key = built.key(bundle.manifest.bundle_id, segment.stretch.entry, name)
    if built.find(key) is not None or built.record(key).get("state") == "failed":
        return
    attempt = built.attempt(key)
    if attempt > MOST_ATTEMPTS:
        built.fail(key, f"building it ended the builder {MOST_ATTEMPTS} times")
        return
    with tempfile.TemporaryDirectory(dir=built.folder, prefix=_BUILDING) as temporary:
        # the C++ compiler works where torch's Inductor says, which would be a folder in /tmp
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(temporary) / "inductor")
        made = Path(temporary) / ("segment.so" if name == "inductor" else "segment.pte")
        try:
            reason = _make_and_check(segment, name, golden, made, **how)
        except Exception as error:  # whatever torch, ExecuTorch or a compiler say
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
        if reason:
            built.fail(key, reason)
        else:
            built.keep(key, made)
    print(f"{name} {segment.stretch.entry or 'inputs'}: {reason or 'built'}", flush=True)


def _make_and_check(
    segment: Segment, name: str, golden: Golden, made: Path, *, most: int, threads: int
) -> str:
    """Why the file is no good, "" if it is."""
    import torch

    def values(samples: int) -> list[torch.Tensor]:
        return [torch.from_numpy(a) for a in golden.batch(segment.stretch.entry, samples)]

    backend = BACKENDS[name]
    assert backend.write is not None
    backend.write(segment.runs, values(min(most, 2)), made, most)
    runs = backend.load(made, segment.runs, threads)
    for samples in sorted({1, min(most, 3), most}):
        with torch.inference_mode():
            wanted = [v.numpy() for v in segment.runs(*values(samples))]
            found = [v.numpy() for v in runs(*values(samples))]
        snr_db = lowest_snr_db(wanted, found)
        if snr_db < MIN_GOLDEN_SNR_DB:
            return f"{snr_db:.1f} dB against eager torch with {samples} samples"
    return ""


def _step_back() -> None:
    """Whatever else runs on this machine comes first, and this process ends with the server."""
    os.nice(19)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    sys.exit(main())
