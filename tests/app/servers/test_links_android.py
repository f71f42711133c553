"""Pairing links by Android's intents, against stand-ins for p4a's `android` and for pyjnius.

They have what the code calls and nothing else: whether Android behaves so was not seen here.
"""

import sys
import types

import pytest

from app.servers.links_android import FROM_RECENTS, follow_links

LINK = "headtail://pair?url=https%3A%2F%2F192.168.1.20%3A8707&token=t"


class Uri:
    def __init__(self, text):
        self.text = text

    def toString(self):  # noqa: N802  # Java's name
        return self.text


class Intent:
    def __init__(self, link=None, flags=0):
        self.data = None if link is None else Uri(link)
        self.flags = flags

    def getData(self):  # noqa: N802  # Java's name
        return self.data

    def getFlags(self):  # noqa: N802  # Java's name
        return self.flags


@pytest.fixture
def android(monkeypatch):
    """`start(intent)` makes the modules of an app that this intent started."""
    bound = {}

    def start(intent):
        activity = types.SimpleNamespace(getIntent=lambda: intent)
        names = {"org.kivy.android.PythonActivity": types.SimpleNamespace(mActivity=activity)}
        jnius = types.SimpleNamespace(autoclass=names.__getitem__)
        monkeypatch.setitem(sys.modules, "jnius", jnius)
        package = types.ModuleType("android")
        events = types.SimpleNamespace(bind=lambda **events: bound.update(events))
        monkeypatch.setitem(sys.modules, "android", package)
        monkeypatch.setitem(sys.modules, "android.activity", events)
        return bound

    return start


def test_the_link_that_started_the_app_and_one_that_comes_later(android):
    bound = android(Intent(LINK))
    received: list[str] = []
    follow_links(received.append)
    assert received == [LINK]
    bound["on_new_intent"](Intent(LINK + "2"))
    assert received == [LINK, LINK + "2"]


@pytest.mark.parametrize(
    "intent",
    [
        Intent(),  # from the launcher
        Intent("https://example.org"),
        Intent("headtail://other"),
        Intent(LINK, flags=FROM_RECENTS | 0x1000_0000),  # answered when it came first
    ],
)
def test_what_is_no_new_pairing_link_is_left_alone(android, intent):
    android(intent)
    received: list[str] = []
    follow_links(received.append)
    assert received == []
