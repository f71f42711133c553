"""`headtail serve` as a process tree of its own, known by what it announced."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["RealServer"]

ROOT = Path(__file__).parents[2]
START_S = 60.0
STOP_S = 20.0


class RealServer:
    """A context manager; `settings` are the server's own, by name, `state` its folder.

    `told` is what it announced: `url`, `fingerprint`, `key`, `pairing`.
    """

    def __init__(
        self, bundles: Sequence[Path], state: Path, settings: Mapping[str, object] | None = None
    ) -> None:
        self.state = state
        chosen = {"state_dir": state, "tune": "false", **(settings or {})}
        self._environment = {f"HEADTAIL_SERVER_{k.upper()}": str(v) for k, v in chosen.items()}
        self._bundles = [str(path) for path in bundles]
        self._process: subprocess.Popen[str] | None = None
        self.told: dict[str, Any] = {}

    def __enter__(self) -> RealServer:
        command = [sys.executable, "-m", "headtail.cli", "serve", *self._bundles]
        self._process = subprocess.Popen(
            [*command, "--port", "0", "--json"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **self._environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        watchdog = threading.Timer(START_S, self.kill)
        watchdog.start()
        try:
            self.told = json.loads(self._process.stdout.readline())
        except ValueError:
            self.kill()
            raise AssertionError(f"the server did not start: {command}") from None
        finally:
            watchdog.cancel()
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        if process.stdout is not None:
            process.stdout.close()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(str(self.told["url"]))
        assert parts.hostname
        assert parts.port
        return parts.hostname, parts.port

    def kill(self) -> None:
        """SIGKILL to every process of it."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_S)
