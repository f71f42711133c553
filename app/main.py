"""Start the app: `python -m app.main [BUNDLE] [--server URL] [--photos FOLDER] [--replay FILE]`.

On a phone there is no command line and every argument keeps its default. With `--agent`, or where
Android says so by an intent, a job is done instead and no window is opened (`app.agent`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from headtail.errors import HeadtailError

__all__ = ["main"]

PORTRAIT = (412, 892)  # dp; a common phone


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the window is closed, or until the job is done; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.agent is None) != (options.out is None):
        parser.error("--agent JOB.json and --out RESULT.json go together")
    if options.agent is not None:
        return _perform(options.agent, options.out)
    from app.agent.intent import serve_intent

    if serve_intent():
        return 0
    os.environ.setdefault("KIVY_NO_ARGS", "1")  # or kivy takes --help and the rest for itself
    from kivy.config import Config

    Config.set("graphics", "width", str(PORTRAIT[0]))  # before the window exists
    Config.set("graphics", "height", str(PORTRAIT[1]))
    Config.set("input", "mouse", "mouse,disable_multitouch")  # or a right click leaves a red dot
    from app.kivy_app import HeadtailApp

    HeadtailApp(
        bundle=options.bundle,
        server=options.server,
        photos=options.photos,
        replay=options.replay,
    ).run()
    return 0


def _perform(job: Path, result: Path) -> int:
    from app.agent import perform

    try:
        return perform(job, result)
    except HeadtailError as error:  # there is nowhere to write it to
        print(error, file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.main", description="The Headtail app.")
    parser.add_argument("bundle", nargs="?", type=Path, help="a .bundle folder or its .zip")
    parser.add_argument(
        "--server", default="", help="a companion server: its pairing code, or https://HOST:PORT"
    )
    parser.add_argument("--photos", type=Path, help="a folder of photos for the strip")
    parser.add_argument(
        "--replay", type=Path, help="a folder of photos or an animated image, played over and over"
    )
    parser.add_argument("--agent", type=Path, metavar="JOB.json", help="do a job, without a window")
    parser.add_argument("--out", type=Path, metavar="RESULT.json", help="where its result goes")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
