"""Headless Chromium, spoken to over its DevTools protocol: no driver, no library.

https://chromedevtools.github.io/devtools-protocol/. The browser resolves no name, so its own calls
home end there; `asked`, `errors` say what a page requested and complained about.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.capabilities import require

__all__ = ["Page", "open_page"]

FLAGS = (
    "--headless=new",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
    "--ignore-certificate-errors",  # the server's own certificate, which nobody signed
)
LIMIT_S = 30.0


class Page:
    """One tab."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._last = 0
        self._session: str | None = None
        self.asked: list[str] = []
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            told = json.loads(self._socket.recv(timeout=LIMIT_S))
            self._note(told)
            if told.get("id") == self._last:
                assert "error" not in told, (method, told["error"])
                result: dict[str, Any] = told["result"]
                return result

    def _note(self, told: dict[str, Any]) -> None:
        method, content = told.get("method", ""), told.get("params", {})
        if method == "Network.requestWillBeSent":
            self.asked.append(content["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(content["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and content["entry"]["level"] == "error":
            self.errors.append(content["entry"]["text"])

    def look(self, width: int, height: int, *, dark: bool = False, scale: float = 1.0) -> None:
        """Size of the window in CSS pixels, colour scheme, device pixels for each of them."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def go(self, url: str) -> None:
        """Load a page."""
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'")

    def get(self, expression: str) -> Any:
        """Value of a JavaScript expression, which may be a promise."""
        told = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Wait until an expression is true; its value."""
        until = time.monotonic() + LIMIT_S
        frame = "new Promise(done => setTimeout(done, 20))"
        while not (value := self.get(expression)):
            assert time.monotonic() < until, (expression, self.get("document.body.innerText"))
            self.get(frame)
        return value

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))


@contextlib.contextmanager
def open_page(folder: Path) -> Iterator[Page]:
    """A tab in a browser of its own, which ends with the `with`; skips without Chromium."""
    from websockets.sync.client import connect

    program = shutil.which("chromium") or shutil.which("google-chrome")
    require(program is not None, "Chromium is not installed: bash .ci/packages.sh")
    command = [program or "", *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            address = next(
                line.split()[-1] for line in process.stderr if "DevTools listening on" in line
            )
            with connect(address, max_size=None) as socket:
                yield Page(socket)
        finally:
            process.kill()
