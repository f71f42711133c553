"""`headtail app [BUNDLE]`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import click

from headtail.cli.console import Console, json_option
from headtail.errors import EnvironmentFault, MissingDependency

__all__ = ["command"]


@click.command("app")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--server", help="A companion server: its pairing code, or https://HOST:PORT.")
@click.option("--photos", type=click.Path(path_type=Path), help="A folder of photos for the strip.")
@json_option
def command(bundle: Path | None, as_json: bool, **given: Any) -> int:
    """Run the phone app on this computer, until its window is closed.

    BUNDLE is opened at the start. The app is in the source tree, not in the installed package.
    """
    console = Console(as_json)
    run = _app()
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


def _app() -> Any:
    """`app.main.main` of the source tree that this package runs from."""
    import headtail

    checkout = Path(headtail.__file__).parents[1]
    if not (checkout / "app" / "main.py").is_file():
        raise EnvironmentFault(
            f"There is no app beside {Path(headtail.__file__).parent}.",
            expected="The installed package holds no app: it is in the source tree.",
            remedy="Clone the repository, run pip install -e '.[app]' in it, and try again.",
        )
    if importlib.util.find_spec("kivy") is None:
        raise MissingDependency(
            "kivy", needed_for="the app's window", install="pip install 'headtail[app]'"
        )
    sys.path.insert(0, str(checkout))  # before whatever else is called `app`
    return importlib.import_module("app.main").main
