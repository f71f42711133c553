"""The picture in the README: `python -m tests.app.take_screenshot BUNDLE PHOTO OUT.png [URL]`.

The real app classifies PHOTO with BUNDLE (split with the server at URL, if given), three times, so
that the milliseconds are not those of a first contact. The PNG gets a palette, since a truecolour
photo makes it four times as large.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from tests.app.offscreen import Job, missing_for_screen, render

COLOURS = 128


def main(arguments: list[str]) -> int:
    """Take it."""
    if len(arguments) not in {3, 4} or missing_for_screen():
        print(missing_for_screen() or __doc__, file=sys.stderr)
        return 2
    bundle, photo, out, *server = arguments
    seen = render(
        Job(
            picture=out,
            bundle=bundle,
            photos=[photo],
            server="".join(server),
            size=(408, 884),
            density=1.5,
            gestures=["photo", "photo"],
        )
    )
    Path(f"{out}.label.png").unlink(missing_ok=True)
    picture = Image.open(out).convert("RGB").quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    picture.save(out, optimize=True)
    print(f"{out}: {Path(out).stat().st_size} bytes, {seen['badge']}, {seen['latency']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
