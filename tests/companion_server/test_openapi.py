"""The OpenAPI page against the application: nothing missing, nothing invented, nothing untrue."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.openapi.models import OpenAPI

from companion_server.app import create_app
from companion_server.openapi.document import routes_of
from companion_server.openapi.operations import STREAMS
from companion_server.openapi.schemas import SCHEMAS
from companion_server.security.access import ROUTES, WEBSOCKET
from companion_server.settings import Settings
from companion_server.store import BundleStore
from tests.companion_server.conftest import running

METHODS = {"get", "put", "post", "delete", "head"}
SCHEMATHESIS_S = 30
INPUT = {"name": "x", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": [0.5] * 192}
CHECKS = (
    "status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,allow_header_conformance,"
    "missing_required_header"
)
CONFIGURATION = """
[parameters]
model = "toy"
wait = 0
"""


@pytest.fixture(scope="module")
def app(bundle_path):
    store = BundleStore([bundle_path])
    made = create_app(store, Settings.of(tls=False, auth=False))

    yield made
    store.close()


@pytest.fixture(scope="module")
def page(app):
    return app.openapi()


def test_every_route_is_on_the_page_and_nothing_else(app, page):
    listed = {
        f"{method.upper()} {path}"
        for path, item in page["paths"].items()
        for method in METHODS & set(item)
    }
    listed |= {
        f"{WEBSOCKET} {path}" for path, item in page["paths"].items() if "x-websocket" in item
    }
    routed = {entry for entry in routes_of(app) if entry != "HEAD /openapi.json"}
    assert listed == routed
    assert listed - {"HEAD /v2/bundles/{bundle_id}"} == set(ROUTES)


def test_every_operation_is_complete(page):
    for path, item in page["paths"].items():
        for method in METHODS & set(item):
            operation = item[method]
            where = f"{method} {path}"
            assert operation["summary"], where
            names = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert names == set(re.findall(r"{(\w+)}", path)), where
            for status, response in operation["responses"].items():
                assert response["description"], (where, status)
                empty = int(status) in (204, 304) or method == "head" or "/repository/" in path
                assert empty or response["content"], (where, status)
            assert ("requestBody" in operation) <= (method in ("post", "put")), where


def test_operation_ids_are_unique(page):
    ids = [item[m]["operationId"] for item in page["paths"].values() for m in METHODS & set(item)]
    assert len(set(ids)) == len(ids)


def test_no_page_loads_anything_from_elsewhere(app, page):
    assert app.docs_url is None
    assert app.redoc_url is None
    assert "cdn" not in json.dumps(page).lower()


def test_references_and_schemas_are_sound(page):
    OpenAPI.model_validate(page)
    assert set(re.findall(r"#/components/schemas/(\w+)", json.dumps(page))) == set(SCHEMAS)


def test_streams_are_described_in_words(page):
    assert set(STREAMS) == {path for path, item in page["paths"].items() if "x-websocket" in item}


def schemathesis(url, folder, *, seconds, more=()):
    """Run the command line over the page of `url`; its tally of answers and its output."""
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    command = [
        shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis",
        *("--config-file", folder / "schemathesis.toml"),
        *("run", f"{url}/openapi.json", "--checks", CHECKS, "--max-time", str(seconds)),
        *("--request-timeout", "10", "--continue-on-failure", "--no-color", *more),
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.companion_server.schemathesis_hooks",
        "HEADTAIL_TALLY": str(folder / "tally.json"),
        "HEADTAIL_INPUT": json.dumps(INPUT),
        "HEADTAIL_OUTPUT": "output_0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    text = done.stdout + done.stderr
    assert (folder / "tally.json").exists(), text
    return json.loads((folder / "tally.json").read_text()), done.returncode, text


@pytest.mark.slow
def test_schemathesis_finds_only_what_the_page_says(bundle_path, tmp_path):
    with running([bundle_path]) as server:
        tally, returncode, text = schemathesis(
            server.url,
            tmp_path,
            seconds=SCHEMATHESIS_S,
            # after an unload nothing could be inferred
            more=("--exclude-path", "/v2/repository/models/{model}/unload"),
        )
        assert server.ask("GET", "/v2/health/ready")[0] == 200
    assert returncode == 0, text[-4000:]
    assert tally["failures"] == []
    assert "500" not in tally["answers"]
    assert {"200", "400", "404", "405", "422"} <= set(tally["answers"])
    assert sum(tally["answers"].values()) > 500
