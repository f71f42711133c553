"""Pictures of the codes that a server shows, drawn from what its own code prints."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image, ImageFilter

from companion_server.security.pairing import qr_svg, qr_text

__all__ = [
    "LINK",
    "OTHER",
    "VARIANTS",
    "blurred",
    "inverted",
    "mirrored",
    "on_a_desk",
    "page_picture",
    "rotated",
    "side_by_side",
    "small",
    "terminal_picture",
]

LINK = (
    "headtail://pair?url=https%3A%2F%2F192.168.1.20%3A8707"
    f"&fp={'5a' * 32}&token=abcdefghijklmnopqrstuvwxyz"
)
OTHER = LINK.replace("5a" * 32, "a5" * 32)
HALVES = {" ": (0, 0), "\u2580": (1, 0), "\u2584": (0, 1), "\u2588": (1, 1)}
CELL = (9, 18)  # pixels of a letter in a terminal, width and height
LIT, GROUND = 240, 20


def terminal_picture(link: str = LINK, *, light: bool = False) -> np.ndarray:
    """A screenshot of `headtail serve`: half blocks of letters, bright on dark.

    A `light` terminal draws them dark on white, which turns the code's colours round.
    """
    lines = qr_text(link, colour=False).split("\n")
    halves = np.array([[HALVES[letter] for letter in line] for line in lines], np.uint8)
    modules = halves.transpose(0, 2, 1).reshape(2 * len(lines), -1)
    lit = modules.repeat(CELL[1] // 2, 0).repeat(CELL[0], 1)
    grey = np.where((lit == 1) != light, LIT, GROUND)
    return rgb(np.pad(grey, 40, constant_values=LIT if light else GROUND))


def page_picture(link: str = LINK) -> np.ndarray:
    """The status page's SVG, drawn by its own path: strokes of one unit in each row."""
    svg = qr_svg(link)
    side, scale = (int(re.findall(p, svg)[0]) for p in (r'width="(\d+)"', r"scale\((\d+)\)"))
    modules = np.full((side // scale, side // scale), 255, np.uint8)
    x, y = 0.0, 0.0
    for command, numbers in re.findall(r"([Mmh])([-\d. ]+)", svg.split('class="qrline"')[1]):
        values = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
        if command == "h":
            modules[int(y), int(x) : int(x + values[0])] = 0
            x += values[0]
        else:
            x, y = values if command == "M" else (x + values[0], y + values[1])
    return rgb(modules.repeat(scale, 0).repeat(scale, 1))


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def on_a_desk(code: np.ndarray, *, angle: float = 0.0, height: int = 480) -> np.ndarray:
    """The code as a camera of 4:3 sees it, turned, before grey that is not even."""
    width = height * 4 // 3
    y, x = np.mgrid[:height, :width]
    ground = Image.fromarray(rgb(110 + 40 * x / width + 30 * np.sin(y / 23)))
    side = round(height * 0.62)
    piece = Image.fromarray(code).resize((side, side), Image.Resampling.LANCZOS).convert("RGBA")
    turned = piece.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    ground.paste(turned, ((width - turned.width) // 2, (height - turned.height) // 2), turned)
    return np.asarray(ground, np.uint8)


def rotated(angle: float) -> np.ndarray:
    return on_a_desk(terminal_picture(), angle=angle)


def mirrored() -> np.ndarray:
    return np.ascontiguousarray(on_a_desk(terminal_picture(), angle=8)[:, ::-1])


def blurred() -> np.ndarray:
    picture = Image.fromarray(on_a_desk(terminal_picture(), angle=-6))
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(1.2)), np.int16)
    noise = np.random.default_rng(0).normal(0, 8, soft.shape)
    return np.clip(soft + noise, 0, 255).astype(np.uint8)


def small() -> np.ndarray:
    """Hardly more than two pixels for a module."""
    code = Image.fromarray(terminal_picture()).resize((160, 160), Image.Resampling.LANCZOS)
    ground = np.full((480, 640, 3), 128, np.uint8)
    ground[200:360, 300:460] = np.asarray(code)
    return ground


def inverted() -> np.ndarray:
    return on_a_desk(terminal_picture(light=True), angle=4)


def side_by_side(*links: str) -> np.ndarray:
    return np.hstack([on_a_desk(terminal_picture(link), angle=3) for link in links])


VARIANTS = {
    "terminal": terminal_picture,
    "status page": page_picture,
    "turned by 30": lambda: rotated(30),
    "upside down": lambda: rotated(180),
    "turned by 270": lambda: rotated(270),
    "mirrored": mirrored,
    "blurred": blurred,
    "small": small,
    "inverted": inverted,
}
