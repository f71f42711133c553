"""`python -m companion_server BUNDLE...`: serve, with settings from the environment.

`headtail serve` is the same with options; this one needs nothing but the server's own packages.
"""

from __future__ import annotations

import sys
from pathlib import Path

from companion_server import serve
from headtail.errors import HeadtailError


def main(arguments: list[str]) -> int:
    """Serve until a signal; an error is one line on standard error and its exit code."""
    try:
        serve([Path(argument) for argument in arguments])
    except HeadtailError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
