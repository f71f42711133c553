"""Settings from a TOML file, beneath the environment and the command line.

    host = "192.168.1.20"
    requests_per_s = 5
    trusted_keys = ["3b6a27bc..."]

The keys are the fields of `Settings`, nothing else is one: an unknown key is refused with its line
and the nearest that exists. Precedence, from strong to weak: command line, environment
(`HEADTAIL_SERVER_*`), file, default. Paths in a file are relative to the file's folder.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headtail.errors import UnknownName, UsageFault

if TYPE_CHECKING:
    from companion_server.settings import Settings

__all__ = ["load_settings", "read_config"]

MAX_BYTES = 1 << 20


def load_settings(
    path: Path | None, given: Mapping[str, Any], *, environ: Mapping[str, str] = os.environ
) -> Settings:
    """The settings of a start: file `path` if there is one, then the environment, then `given`.

    Raises `UsageFault` for a file that cannot be read, a key that is none (it lists those that are)
    and a value that cannot be.
    """
    from companion_server.settings import ENV_PREFIX, Settings

    found = {} if path is None else read_config(path)
    told = {
        name.removeprefix(ENV_PREFIX).lower() for name in environ if name.startswith(ENV_PREFIX)
    }
    weaker = {key: value for key, value in found.items() if key not in told}
    return Settings.from_env(environ, **{**weaker, **given})


def read_config(path: Path) -> dict[str, Any]:
    """What the file sets: fields of `Settings` by name, values as TOML has them."""
    from companion_server.settings import Settings

    text = _read(path)
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageFault(
            f"{path} is not TOML: {error}.",
            expected="A configuration file has lines such as port = 8707.",
            remedy="Correct it there; strings stand in quotes.",
        ) from None
    unknown = next((key for key in found if key not in Settings.model_fields), None)
    if unknown is not None:
        raise _unknown(path, text, unknown)
    folder = path.parent
    paths = {name for name, field in Settings.model_fields.items() if _is_path(field.annotation)}
    return {
        key: folder / value if key in paths and isinstance(value, str) else value
        for key, value in found.items()
    }


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageFault(
            f"The configuration file {path} cannot be read: {reason}.",
            expected="A TOML file of server settings.",
            remedy="Correct --config, or leave it out.",
        ) from None
    if len(data) > MAX_BYTES:
        raise UsageFault(
            f"The configuration file {path} has more than {MAX_BYTES} bytes.",
            expected="A TOML file of server settings has some lines.",
            remedy="Correct --config, or leave it out.",
        )
    return text


def _unknown(path: Path, text: str, key: str) -> UsageFault:
    from companion_server.settings import Settings

    line = _line_of(text, key)
    where = f"{path}, line {line}" if line else str(path)
    known = UnknownName("server setting", key, Settings.model_fields)
    return UsageFault(f"{where}: {known.what}", expected=known.expected, remedy=known.remedy)


def _line_of(text: str, key: str) -> int:
    """Number of the line that sets `key`, for people; 0 if it is written in an unusual way."""
    quoted = re.escape(key)
    pattern = re.compile(rf"""\s*(\[+\s*)?["']?{quoted}["']?\s*[.=\]]""")
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if pattern.match(line)), 0)


def _is_path(annotation: Any) -> bool:
    return annotation is Path or Path in getattr(annotation, "__args__", ())
