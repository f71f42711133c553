"""`headtail app [BUNDLE]`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import click

from headtail.cli.console import Console, json_option
from headtail.errors import EnvironmentFault, MissingDependency, UsageFault

__all__ = ["command"]

PATH = click.Path(path_type=Path)


@click.command("app")
@click.argument("bundle", required=False, type=PATH)
@click.option("--server", help="A companion server: its pairing code, or https://HOST:PORT.")
@click.option("--photos", type=PATH, help="A folder of photos for the strip.")
@click.option("--replay", type=PATH, help="A folder of photos or an animated image, to play.")
@click.option("--agent", type=PATH, metavar="JOB.json", help="Do a job, without a window.")
@click.option("--out", type=PATH, metavar="RESULT.json", help="Where the job's result goes.")
@json_option
def command(bundle: Path | None, as_json: bool, **given: Any) -> int:
    """Run the phone app on this computer, until its window is closed or its job is done.

    BUNDLE is opened at the start. The app is in the source tree, not in the installed package. What
    a job says is in device_tests/README.md.
    """
    console = Console(as_json)
    windowless = given["agent"] is not None
    if windowless != (given["out"] is not None):
        raise UsageFault(
            f"There is {'--agent without --out' if windowless else '--out without --agent'}.",
            expected="A job is read from --agent JOB.json, its result goes to --out RESULT.json.",
            remedy="Give both, or neither.",
        )
    run = _app(windowless=windowless)
    options = [word for name, value in given.items() if value for word in (f"--{name}", str(value))]
    try:
        code = run([*options, *([] if bundle is None else ["--", str(bundle)])])
    except SystemExit as stop:  # kivy's way to say that there is no screen
        raise EnvironmentFault(
            f"The app ended with code {stop.code} before its window was open.",
            expected="A window can be drawn: a screen, and OpenGL 2 or OpenGL ES 2.",
            remedy="Read the log above; without a screen, set SDL_VIDEODRIVER=offscreen.",
        ) from None
    console.finish({"good": code == 0})
    return int(code)


def _app(*, windowless: bool) -> Any:
    """`app.main.main` of the source tree that this package runs from."""
    import headtail

    checkout = Path(headtail.__file__).parents[1]
    if not (checkout / "app" / "main.py").is_file():
        raise EnvironmentFault(
            f"There is no app beside {Path(headtail.__file__).parent}.",
            expected="The installed package holds no app: it is in the source tree.",
            remedy="Clone the repository, run pip install -e '.[app]' in it, and try again.",
        )
    if not windowless and importlib.util.find_spec("kivy") is None:
        raise MissingDependency(
            "kivy", needed_for="the app's window", install="pip install 'headtail[app]'"
        )
    sys.path.insert(0, str(checkout))  # before whatever else is called `app`
    return importlib.import_module("app.main").main
