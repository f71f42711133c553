import re
from dataclasses import fields

import pytest

from app.theme import DARK, LIGHT

READABLE = 4.5  # contrast ratio, WCAG 2.2 success criterion 1.4.3
PAIRS = [
    *[(text, ground) for text in ("text", "muted") for ground in ("ground", "surface", "sunken")],
    ("text", "raised"),
    *[(hue, "surface") for hue in ("device", "server", "warning", "danger")],
    *[(hue, f"tint_{hue}") for hue in ("device", "server", "warning", "danger")],
    ("text", "tint_danger"),
    *[("surface", hue) for hue in ("device", "server")],
    ("text", "tint_device"),
]


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_formula_gives_the_published_extremes():
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#777777") == pytest.approx(1)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_can_be_read_on_its_ground(theme, text, ground):
    assert contrast(getattr(theme, text), getattr(theme, ground)) >= READABLE


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_every_colour_is_hex(theme):
    for field in fields(theme):
        if field.name != "name":
            assert re.fullmatch(r"#[0-9A-F]{6}", getattr(theme, field.name)), field.name
