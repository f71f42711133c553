import subprocess
import sys

import companion_server


def test_exports_resolve_and_are_sorted():
    assert companion_server.__all__ == sorted(companion_server.__all__)
    for name in companion_server.__all__:
        assert getattr(companion_server, name).__name__ == name


def test_importing_the_routes_does_not_import_torch():
    code = (
        "import sys; from companion_server import Settings, create_app, serve; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_alone_imports_no_web_framework():
    code = "import sys, companion_server; sys.exit('fastapi' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
