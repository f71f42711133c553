"""Writes the Gradle project that buildozer and python-for-android would hand to Gradle.

Runs as a process of its own, `python -m tests.app.android_project FOLDER`, since both tools change
the working folder and the environment. All of it is the tools' own code: buildozer checks and reads
the spec, copies the payload and puts python-for-android's command line together; p4a's build.py,
in the folder that p4a's sdl2 bootstrap copies, packs the payload and renders its templates; p4a's
hook is loaded and called. Left out is what cannot be had here: SDK, NDK, the compiled recipes and
Gradle.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
ARCH = "arm64-v8a"


class Recorded(Exception):
    """Carries a command line out of buildozer, which would go on to copy an APK."""


def command_line(checkout: Path) -> list[str]:
    """What buildozer would run `python -m pythonforandroid.toolchain` with."""
    from buildozer import Buildozer

    os.chdir(checkout / "app")  # as docs/install-app.md says
    builder = Buildozer("buildozer.spec", "android")
    builder.check_configuration_tokens()
    builder.check_build_layout()
    builder.build_application()
    target = builder.target

    def record(command: list[str], **_: Any) -> None:
        raise Recorded([*command, *target.extra_p4a_args])

    target._p4a = record
    dist = Path(target.get_dist_dir(builder.config.get("app", "package.name")))
    dist.mkdir(parents=True)
    builder.build_mode = target.build_mode = "debug"
    try:
        target.build_package()
    except Recorded as recorded:
        command: list[str] = recorded.args[0]
        return command
    raise AssertionError("buildozer never called python-for-android")


def project(folder: Path, *, api: int) -> None:
    """The folder that p4a's sdl2 bootstrap makes, without the libraries it would compile."""
    from pythonforandroid.bootstrap import Bootstrap, copy_files
    from pythonforandroid.build import Context

    for source in Bootstrap.get_bootstrap("sdl2", Context()).get_bootstrap_dirs():
        copy_files(str(Path(source) / "build"), str(folder))
    (folder / f"_python_bundle__{ARCH}").mkdir()
    (folder / "libs" / ARCH).mkdir(parents=True)
    sdk = folder.parent / "sdk"
    (sdk / "build-tools" / f"{api}.0.0").mkdir(parents=True)
    (folder / "project.properties").write_text(f"target=android-{api}")
    (folder / "local.properties").write_text(f"sdk.dir={sdk}")
    facts = {"bootstrap": "sdl2", "archs": [ARCH], "ndk_api": 24, "hostpython": sys.executable}
    (folder / "dist_info.json").write_text(json.dumps(facts))


def package(folder: Path, command: list[str]) -> None:
    """Parse `command` as p4a's toolchain does; run build.py and the hook in `folder` with it."""
    from pythonforandroid.toolchain import ToolchainCL
    from pythonforandroid.util import current_directory, load_source

    class Toolchain(ToolchainCL):  # type: ignore[misc]  # p4a has no types
        def apk(self, args: Any) -> None:
            self.args = args
            self._fix_args(args)
            with current_directory(str(folder)):
                build = load_source("build", str(folder / "build.py"))
                build.parse_args_and_make_package(args.unknown_args)
                self.hook("before_apk_assemble")

    sys.argv = ["toolchain", *command]
    Toolchain()


def main(folder: Path) -> None:
    """Copy what the build reads to `folder`, stage, build the project."""
    from headtail.stage import stage

    checkout = folder / "checkout"
    stage(checkout / "build" / "phone", checkout=CHECKOUT)
    (checkout / "app").mkdir()
    shutil.copy(CHECKOUT / "app" / "buildozer.spec", checkout / "app")
    shutil.copytree(CHECKOUT / "android", checkout / "android")
    with redirect_stdout(sys.stderr):
        command = command_line(checkout)
        project(folder / "project", api=35)
        package(folder / "project", command)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
