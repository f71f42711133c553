"""The share sheets against doubles with Android's and Apple's own names; no phone is here."""

from pathlib import Path
from types import SimpleNamespace

from app.machine import PLATFORMS
from app.report.sharing import (
    MAX_TEXT,
    SUBJECT,
    AndroidSharing,
    AppleSharing,
    DeskSharing,
    find_sharing,
)

FILE = Path("/data/reports/headtail.md")


def test_a_desk_opens_nothing_and_copies_the_path():
    copied: list[str] = []
    told = DeskSharing().share("text", FILE, copied.append)
    assert copied == [str(FILE)]
    assert str(FILE) in told


class Intent:
    ACTION_SEND = "android.intent.action.SEND"
    EXTRA_SUBJECT = "android.intent.extra.SUBJECT"
    EXTRA_TEXT = "android.intent.extra.TEXT"

    def __init__(self, action):
        self.action, self.type, self.extras = action, None, {}

    def setType(self, kind):  # noqa: N802  # Android's own name
        self.type = kind

    def putExtra(self, name, value):  # noqa: N802  # Android's own name
        self.extras[name] = value

    @staticmethod
    def createChooser(intent, title):  # noqa: N802  # Android's own name
        return ("chooser", intent, title)


def test_android_is_given_plain_text_through_its_chooser():
    started: list[tuple[str, Intent, str]] = []
    copied: list[str] = []
    activity = SimpleNamespace(startActivity=started.append)
    classes = {
        "android.content.Intent": Intent,
        "java.lang.String": lambda text: text,
        "org.kivy.android.PythonActivity": SimpleNamespace(mActivity=activity),
    }
    told = AndroidSharing(classes.__getitem__).share("x" * 200_000, FILE, copied.append)
    ((kind, intent, title),) = started
    assert (kind, title, intent.action, intent.type) == (
        "chooser",
        SUBJECT,
        Intent.ACTION_SEND,
        "text/plain",
    )
    assert intent.extras == {Intent.EXTRA_SUBJECT: SUBJECT, Intent.EXTRA_TEXT: "x" * MAX_TEXT}
    assert (told, copied) == ("", [])


def test_apple_presents_its_sheet():
    shown: list[tuple[object, ...]] = []

    class Controller:
        def presentViewController_animated_completion_(self, *what):  # noqa: N802
            shown.append(what)

    sheet = SimpleNamespace(
        initWithActivityItems_applicationActivities_=lambda items, _: ("sheet", items)
    )
    window = SimpleNamespace(rootViewController=Controller())
    application = SimpleNamespace(keyWindow=lambda: window)
    classes = {
        "NSString": SimpleNamespace(stringWithUTF8String_=lambda text: f"ns:{text}"),
        "NSArray": SimpleNamespace(arrayWithObject_=lambda item: [item]),
        "UIActivityViewController": SimpleNamespace(alloc=lambda: sheet),
        "UIApplication": SimpleNamespace(sharedApplication=lambda: application),
    }
    assert AppleSharing(classes.__getitem__).share("text", FILE, print) == ""
    assert shown == [(("sheet", ["ns:text"]), True, None)]


def test_every_platform_has_one():
    found = {name: type(find_sharing(name)) for name in PLATFORMS}
    phones = {"android": AndroidSharing, "ios": AppleSharing}
    assert found == dict.fromkeys(PLATFORMS, DeskSharing) | phones
