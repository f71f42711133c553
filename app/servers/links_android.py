"""Pairing links on Android: the intent that started the app, and those that reach it later.

Another app, mostly the camera, opens `headtail://pair?...` and Android passes it on as an intent's
data (https://developer.android.com/training/app-links/deep-linking). One that comes again because
the app is taken from the list of recent apps was answered before and is left alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from headtail.offload.pairing import PREFIX

__all__ = ["follow_links"]

FROM_RECENTS = 0x0010_0000  # android.content.Intent.FLAG_ACTIVITY_LAUNCHED_FROM_HISTORY


def follow_links(receive: Callable[[str], None]) -> None:
    """Have `receive` called with every pairing link, on whichever thread Android tells it."""
    from jnius import autoclass

    # python-for-android's own; by name, because the checkout has a folder that is called the same
    activity = importlib.import_module("android.activity")

    def read(intent: Any) -> None:
        data = intent.getData()
        if data is not None and not intent.getFlags() & FROM_RECENTS:
            link = str(data.toString())
            if link.startswith(PREFIX):
                receive(link)

    activity.bind(on_new_intent=read)
    read(autoclass("org.kivy.android.PythonActivity").mActivity.getIntent())
