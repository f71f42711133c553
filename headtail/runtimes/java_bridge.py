"""Java classes of the APK from Python, by pyjnius; nothing of it is imported before it is used.

Android finds an app's classes from the main thread only, and pyjnius remembers what it found: a
runtime is probed on the main thread before a model is loaded on another one.
https://pyjnius.readthedocs.io
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headtail.errors import RuntimeUnavailable
from headtail.tensors import Array

__all__ = ["array_of", "find_class", "java_exception", "said"]


def find_class(name: str, *, package: str) -> Any:
    """The Java class `name`; `package` is the Gradle dependency that brings it.

    Raises `RuntimeUnavailable` where there is no Java or no such class.
    """
    try:
        from jnius import autoclass
    except Exception as error:  # without a JVM, importing it raises whatever its search met
        raise RuntimeUnavailable(
            f"{name} cannot be used: there is no Java here ({type(error).__name__}).",
            expected="In an APK pyjnius reaches the app's own Java.",
            remedy="Use another runtime here; on Android, build the app with pyjnius.",
        ) from None
    try:
        return autoclass(name)
    except java_exception() as error:
        raise RuntimeUnavailable(
            f"The Java class {name} is not in this app: {said(error)}.",
            expected=f"An APK holds it when it was built with {package}.",
            remedy=f"Add {package} to android.gradle_dependencies and build the app again.",
        ) from None


def java_exception() -> type[Exception]:
    """What pyjnius raises when a Java method throws."""
    from jnius import JavaException

    found: type[Exception] = JavaException
    return found


def said(error: Exception) -> str:
    """Class and message of a Java exception, in one line."""
    kind = getattr(error, "classname", None) or type(error).__name__
    message = getattr(error, "innermessage", None) or str(error)
    return f"{kind.rpartition('.')[2]}: {' '.join(message.split())[:200]}"


def array_of(java_bytes: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """A new array of a Java `byte[]` in native byte order."""
    # pyjnius wraps a byte[]; tostring() is its one way out that copies whole, not byte by byte
    return np.frombuffer(java_bytes.tostring(), dtype).reshape(shape).copy()
