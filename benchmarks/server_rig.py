"""What every section of `benchmarks/server.py` stands on: our server as processes, real inputs.

The server is known by its command line, its environment (`HEADTAIL_SERVER_*`) and its wire alone,
so that figures of different versions of it can be compared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from headtail.bundle import Bundle, open_bundle
from headtail.manifest import Cut
from headtail.tensors import Array

ROOT = Path(__file__).parents[1]
START_S = 60.0
STOP_S = 20.0
POLL_S = 0.005
_PACKAGES = ("torch", "numpy", "fastapi", "starlette", "uvicorn", "httptools", "uvloop", "grpcio")


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is served: a bundle, the cut that clients enter at, and real inputs for it."""

    path: Path
    bundle: Bundle
    cut: Cut
    inputs: list[list[Array]]  # per golden sample: the cut's tensors
    outputs: list[list[Array]]  # per golden sample: the model's outputs

    @classmethod
    def open(cls, path: Path, cut_id: str | None) -> Subject:
        """The bundle at `path`; without an id, its cut whose frame is nearest to 13 KiB."""
        bundle = open_bundle(path)
        manifest, golden = bundle.manifest, bundle.golden()
        held = [cut for cut in manifest.cuts if cut.materialised]
        nearest = min(held, key=lambda cut: abs(cut.wire_bytes["aq8t+deflate"] - (13 << 10)))
        cut = manifest.cut(cut_id) if cut_id else nearest
        first = f".{manifest.outputs[0].name}"
        count = sum(key.startswith("output.") and key.endswith(first) for key in golden)
        inputs = [
            [golden[f"cut.{cut.id}.{i}.{spec.name}"].copy() for spec in cut.tensors]
            for i in range(count)
        ]
        outputs = [
            [golden[f"output.{i}.{spec.name}"] for spec in manifest.outputs] for i in range(count)
        ]
        return cls(path, bundle, cut, inputs, outputs)

    def described(self) -> dict[str, Any]:
        """For the result."""
        return {
            "model": self.bundle.manifest.name,
            "bundle_id": self.bundle.manifest.bundle_id[:16],
            "cut": self.cut.id,
            "tensors": [str(spec) for spec in self.cut.tensors],
            "aq8t_deflate_bytes": self.cut.wire_bytes["aq8t+deflate"],
            "golden_inputs": len(self.inputs),
        }


EAGER = {"tune": "false"}


class OurServer:
    """`headtail serve` as a process tree of its own, without TLS and keys; a context manager.

    `settings` are the server's own, by name; `log` is where its standard error goes.
    `EAGER` among them keeps it from building faster tails beside what is measured.
    """

    def __init__(
        self,
        bundles: list[Path],
        settings: Mapping[str, str] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        paths = [str(bundle.resolve()) for bundle in bundles]
        self.command = [sys.executable, "-m", "headtail", "serve", *paths, "--port", "0", "--json"]
        self._settings = {"tls": "false", "auth": "false", **(settings or {})}
        self._more = environment or {}
        self._log = log
        self._stack = contextlib.ExitStack()
        self.told: dict[str, Any] = {}  # what it printed once it was ready

    def __enter__(self) -> OurServer:
        # a server that was killed may leave processes that still write there
        temporary = tempfile.TemporaryDirectory(prefix="headtail-", ignore_cleanup_errors=True)
        folder = self._stack.enter_context(temporary)
        settings = {"state_dir": folder, **self._settings}
        chosen = {f"HEADTAIL_SERVER_{key.upper()}": text for key, text in settings.items()}
        self.log = self._log or Path(folder, "log")
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **python_path(), **chosen, **self._more},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._stack.callback(self._stop)
        watchdog = threading.Timer(START_S, self.process.kill)
        watchdog.start()
        assert self.process.stdout is not None
        try:
            self.told = json.loads(self.process.stdout.readline())
        except ValueError:
            printed = self.log.read_text(errors="replace")[-2000:]
            self._stack.close()
            raise SystemExit(
                f"the server did not start: {' '.join(self.command)}\n{printed}"
            ) from None
        finally:
            watchdog.cancel()
        # what it prints later must not fill the pipe
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.told["url"])

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urllib.parse.urlsplit(self.url)
        assert parts.hostname
        assert parts.port
        return parts.hostname, parts.port

    def processes(self) -> dict[int, str]:
        """Pid -> command line of the process and all that descend from it."""
        return descendants(self.process.pid)

    def rss_mib(self) -> float:
        """Resident memory of the whole tree, MiB; shared pages count once per process."""
        return sum(rss_mib(pid) for pid in self.processes())


def python_path() -> dict[str, str]:
    """This checkout's packages, for a child process."""
    return {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def parents() -> dict[int, int]:
    """Pid -> parent's pid, of every process there is."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # behind the name, which may hold spaces and brackets: state, then the parent
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = int(fields[1])
    return found


def descendants(pid: int) -> dict[int, str]:
    """`pid` and everything below it, with command lines; what ends meanwhile is left out."""
    above = parents()
    found, added = {pid}, True
    while added:
        more = {child for child, parent in above.items() if parent in found} - found
        found, added = found | more, bool(more)
    named = {}
    for one in sorted(found):
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{one}/cmdline").read_bytes()
            named[one] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return named


def rss_mib(pid: int) -> float:
    """Resident memory of one process, MiB; 0 when it is gone."""
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0


def free_port(count: int = 1) -> int:
    """The first of `count` neighbouring ports that are free now."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            try:
                for port in range(first + 1, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return int(first)


@contextlib.contextmanager
def child(command: list[str], *, ready: Callable[[], bool], log: Path) -> Iterator[int]:
    """A peer's process until the block ends; yields its pid once `ready()`."""
    with log.open("wb") as out:
        environment = {**os.environ, **python_path()}
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True, cwd=log.parent
        )
    try:
        stop = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > stop:
                raise SystemExit(f"{command[1]} did not start; see {log}")
            time.sleep(POLL_S)
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def versions() -> dict[str, str]:
    """What was measured with, in this environment."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit() -> str:
    """The checkout's commit, with `+` behind it if files differ from it."""
    ask = ["git", "-C", str(ROOT)]
    head = subprocess.run(
        [*ask, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    changed = subprocess.run(
        [*ask, "status", "--porcelain", "--untracked-files=no"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return (head or "unknown") + ("+" if changed else "")


def record(path: Path, section: str, figures: dict[str, Any]) -> None:
    """Put one section into the result file, leaving the others as they are."""
    held = json.loads(path.read_text()) if path.exists() else {}
    held[section] = figures
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n")
