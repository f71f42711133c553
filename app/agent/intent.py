"""How a phone is asked: `am start ... --es headtail.agent NAME`.

NAME is a folder `<the app's files>/agent/NAME` with `job.json` in it; the result is `result.json`
beside it. A launcher activity can be started by any other app, so an extra can name nothing else:
into that folder writes only who the app itself let in (`run-as`, of debuggable builds).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.agent.perform import perform
from app.machine import platform_name
from headtail.errors import HeadtailError

__all__ = ["EXTRA", "asked_for", "job_folder", "serve_intent"]

log = logging.getLogger(__name__)
EXTRA = "headtail.agent"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def serve_intent() -> bool:
    """On Android, do the job that the app was started for and finish; False if there is none."""
    if platform_name() != "android":
        return False
    from jnius import autoclass

    activity = autoclass("org.kivy.android.PythonActivity").mActivity
    name = asked_for(activity.getIntent().getStringExtra)
    if name is None:
        return False
    folder = job_folder(Path(os.environ["ANDROID_PRIVATE"]), name)
    try:
        if folder.is_dir():
            perform(folder / "job.json", folder / "result.json", confined=True)
    except HeadtailError:  # there is nowhere to write it to but the phone's log
        log.exception("the job's result is lost")
    finally:
        activity.finishAndRemoveTask()
    return True


def asked_for(extra: Callable[[str], Any]) -> str | None:
    """The name in the intent's extra; None if there is none, or if it is not plain."""
    name = extra(EXTRA)
    return name if isinstance(name, str) and NAME.fullmatch(name) else None


def job_folder(files: Path, name: str) -> Path:
    """Where the job of that name lies; `files` is the app's own folder (`getFilesDir`)."""
    return files / "agent" / name
