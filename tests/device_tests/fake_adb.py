"""A stand-in for `adb` with a phone behind it: `python -m tests.device_tests.fake_adb ARGUMENTS`.

`FAKE_PHONE` is a folder with the phone's files: `data/local/tmp`, and the app's own under `app`.
`run-as` sees the app's files only. Starting the app with an extra does its job as the app does, by
the app's own code, confined to the job's folder; its runtime is the desk's LiteRT, which here calls
itself a device's. What it shows is the way there and back, not a phone. With a file `asleep` in the
folder the app starts and does nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGE = "org.headtail.headtail"
PROPERTIES = {
    "ro.product.manufacturer": "Acme",
    "ro.product.model": "Phone 1",
    "ro.soc.model": "chip",
    "ro.product.cpu.abi": "x86_64",
    "ro.build.version.release": "15",
}


def main(words: Sequence[str]) -> int:
    """What adb does of what the target asks for; 1 for anything else."""
    phone = Path(os.environ["FAKE_PHONE"])
    with (phone / "asked.txt").open("a") as asked:
        asked.write(" ".join(words) + "\n")
    if words[0] == "push":
        shutil.copytree(words[1], _inside(phone, words[2]))
        return 0
    if words[0] not in ("shell", "exec-out"):
        return 1
    return _shell(phone, words[1:])


def _shell(phone: Path, words: Sequence[str]) -> int:
    if words[0] == "getprop":
        print(PROPERTIES[words[1]])
        return 0
    if words[:2] == ["am", "start"]:
        return 0 if (phone / "asleep").exists() else _start(phone / "app", words)
    root = phone
    if words[0] == "run-as":
        if words[1] != PACKAGE or not (phone / "app").is_dir():
            print(f"run-as: unknown package: {words[1]}", file=sys.stderr)
            return 1
        root, words = phone / "app", words[2:]
    return _file_command(phone, root, words)


def _file_command(phone: Path, root: Path, words: Sequence[str]) -> int:
    command, *rest = words
    if command == "mkdir":
        _inside(root, rest[-1]).mkdir(parents=True, exist_ok=True)
    elif command == "cp":
        shutil.copytree(_inside(phone, rest[-2]), _inside(root, rest[-1]))
    elif command == "rm":
        shutil.rmtree(_inside(root, rest[-1]), ignore_errors=True)
    elif command == "cat":
        file = _inside(root, rest[-1])
        if not file.exists():
            print(f"cat: {rest[-1]}: No such file or directory")
            return 0  # exec-out gives no exit code
        sys.stdout.buffer.write(file.read_bytes())
    return 0 if command in ("mkdir", "cp", "rm", "cat", "true") else 1


def _start(app: Path, words: Sequence[str]) -> int:
    from app.agent import perform
    from app.agent.intent import EXTRA, asked_for, job_folder
    from headtail.runtimes.litert_desk import LiteRTDesk

    class PhoneLiteRT(LiteRTDesk):
        timing_kind = "device"

    if f"{PACKAGE}/org.kivy.android.PythonActivity" not in words:
        return 1
    extras = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "--es"}
    name = asked_for(extras.get)
    if EXTRA in extras and name is not None:
        folder = job_folder(app / "files", name)
        perform(
            folder / "job.json",
            folder / "result.json",
            confined=True,
            runtimes=lambda: (PhoneLiteRT(),),
        )
    return 0


def _inside(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
