"""What a newcomer does, in a real window with a real mouse and keyboard, from the first start on.

Start, read the guide, pair with a server that was started as its documentation says, download its
model, look at a photo, play a video, have it computed by the server, lose the server, read where it
ran, save the report, come back another day.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.app.window import AppWindow, missing_for_window
from tests.support.capabilities import require

pytestmark = pytest.mark.slow
FRAMES = 12


@pytest.fixture(autouse=True)
def _window():
    reason = missing_for_window()
    require(not reason, reason)


@pytest.fixture
def video(tmp_path):
    """Blue that grows darker."""
    path = tmp_path / "sea.gif"
    frames = [
        Image.fromarray(np.full((120, 160, 3), (0, 0, 255 - 8 * number), np.uint8))
        for number in range(FRAMES)
    ]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40, loop=0)
    return path


@contextlib.contextmanager
def served(bundle, state):
    """`headtail serve BUNDLE --json` as it is by default, in a process group that can be killed."""
    options = ["--port", "0", "--state-dir", str(state), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "headtail.cli", "serve", str(bundle), *options],
        env={**os.environ, "HEADTAIL_SERVER_TUNE": "false"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):  # it was killed already
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_newcomers_session(colour_bundle, red_photo, video, tmp_path):
    home, state = tmp_path / "home", tmp_path / "state"
    arguments = ["--photos", str(red_photo.parent), "--replay", str(video)]
    with served(colour_bundle, state) as server, AppWindow(arguments, home=home) as app:
        told = json.loads(server.stdout.readline())
        read_the_guide(app)
        pair(app, told)
        download_and_open(app)
        look_at_the_photo(app)
        play_the_video(app)
        have_it_computed_there(app)
        lose_the_server(app, server)
        save_the_report(app, home, told)
    with AppWindow([], home=home) as app:  # another day
        app.text("nearest_colour")
        app.text("local (server lost)")


def read_the_guide(app):
    for number in (1, 2):
        app.text(f"{number} of 3")
        app.click("Next")
    app.text("3 of 3")
    app.click("Done")


def pair(app, told):
    app.click("Settings", kind="Place")
    app.enter("headtail://pair?... or https://...", told["pairing"])
    app.text(told["url"].removeprefix("https://"))


def download_and_open(app):
    app.click("Models", kind="Place")
    app.click("Download")
    app.click("Open")
    app.text("agrees 1.000")


def look_at_the_photo(app):
    app.click("Photos", kind="SourceOption")
    app.text("red")
    app.text("Nothing left this device")


def play_the_video(app):
    app.click("Replay", kind="SourceOption")
    app.text("blue")
    app.text(" fps")


def have_it_computed_there(app):
    app.click("With a server")
    app.text("split at ")
    app.text("blue")
    app.text("Server + network")


def lose_the_server(app, server):
    os.killpg(server.pid, signal.SIGKILL)
    app.text("local (server lost)")
    app.text("blue")


def save_the_report(app, home, told):
    app.click("Report", kind="Place")
    app.click("Save")
    app.text("aved")
    (report,) = home.rglob("reports/*.json")
    text = report.read_text()
    assert json.loads(text)
    assert "nearest_colour" in text
    assert told["url"] not in text
