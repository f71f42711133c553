"""python-for-android's hook: gives the Gradle project it has written our keep rules.

https://python-for-android.readthedocs.io/en/latest/distutils/#hooks names no other place for them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

RULES = Path(__file__).with_name("keep.pro")
BLOCK = f"\nandroid {{ buildTypes {{ all {{ proguardFiles '{RULES.name}' }} }} }}\n"


def before_apk_assemble(_toolchain: Any) -> None:
    """Runs in the Gradle project, after build.gradle is written and before Gradle starts."""
    shutil.copy(RULES, RULES.name)
    script = Path("build.gradle")
    if BLOCK not in script.read_text(encoding="utf-8"):
        with script.open("a", encoding="utf-8") as file:
            file.write(BLOCK)
