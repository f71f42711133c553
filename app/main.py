"""Start the app: `python -m app.main [BUNDLE] [--server URL] [--photos FOLDER]`.

On a phone there is no command line and every argument keeps its default.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

PORTRAIT = (412, 892)  # dp; a common phone


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the window is closed."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("KIVY_NO_ARGS", "1")  # or kivy takes --help and the rest for itself
    from kivy.config import Config

    Config.set("graphics", "width", str(PORTRAIT[0]))  # before the window exists
    Config.set("graphics", "height", str(PORTRAIT[1]))
    Config.set("input", "mouse", "mouse,disable_multitouch")  # or a right click leaves a red dot
    from app.kivy_app import HeadtailApp

    HeadtailApp(bundle=options.bundle, server=options.server, photos=options.photos).run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.main", description="The Headtail app.")
    parser.add_argument("bundle", nargs="?", type=Path, help="a .bundle folder or its .zip")
    parser.add_argument(
        "--server", default="", help="a companion server: its pairing code, or https://HOST:PORT"
    )
    parser.add_argument("--photos", type=Path, help="a folder of photos for the strip")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
