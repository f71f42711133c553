"""Is the OpenAPI page true? schemathesis against `headtail serve`, with keys and a writable store.

    python -m benchmarks.fuzz_openapi BUNDLE [--seconds S]

Requests made from the page, well formed and not; every answer is held against the page: status,
media type, headers, body, methods. Twice: with a key that nothing replaces, and for a fifth of the
time with one that schemathesis replaces and takes away, which must be noticed. Statuses are counted
in results/fuzz_openapi.json; the exit status is 1 for a 500 or anything else that was found.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.fuzz_server import tracebacks
from benchmarks.server_rig import EAGER, ROOT, OurServer, Subject, commit, record, versions
from headtail.tensors import oip_datatype

RESULT = Path(__file__).parent / "results" / "fuzz_openapi.json"
CHECKS = (
    "status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,allow_header_conformance,"
    "missing_required_header"
)
# X-API-Key goes before Authorization, which schemathesis makes up
RUNS = {
    "answers": ("X-API-Key: {key}", CHECKS),
    "keys": ("Authorization: Bearer {key}", f"{CHECKS},ignored_auth"),
}
# what would end the fuzzing: without tails nothing is inferred, and the key would be gone
LEFT_OUT = ("/v2/repository/models/{model}/unload",)
GENERATED = re.compile(r"(\d+) generated")


def run(name: str, subject: Subject, seconds: int) -> dict[str, Any]:
    """One of `RUNS`; its figures."""
    with (
        tempfile.TemporaryDirectory(prefix="headtail-openapi-") as place,
        OurServer([subject.path], {**EAGER, "auth": "true"}) as server,
    ):
        folder = Path(place)
        header, checks = RUNS[name]
        more = ("--checks", checks, "--max-time", str(seconds))
        more += ("-H", header.format(key=server.told["key"]))
        done = _schemathesis(server, subject, folder, more)
        tally = json.loads((folder / "tally.json").read_text())
        text = done.stdout + done.stderr
        generated = GENERATED.search(text)
        found = tracebacks(server)
        if done.returncode or found:
            print(text[-6000:], *found[:3], sep="\n")
        return {
            "seconds": seconds,
            "schemathesis": version("schemathesis"),
            "cases": int(generated[1]) if generated else 0,
            "answers": tally["answers"],
            "answers_of_500": len(tally["failures"]),
            "tracebacks": len(found),
            "exit_status": done.returncode,
        }


def _schemathesis(
    server: OurServer, subject: Subject, folder: Path, more: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    manifest = subject.bundle.manifest
    spec = manifest.inputs[0]
    whole = {
        "name": spec.name,
        "shape": list(spec.shape),
        "datatype": oip_datatype(spec),
        "data": [0.5] * spec.elements,
    }
    (folder / "schemathesis.toml").write_text(
        f'[parameters]\nmodel = "{manifest.name}"\nwait = 0\n'
    )
    left_out = [part for path in LEFT_OUT for part in ("--exclude-path", path)]
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file"),
        *("schemathesis.toml", "run", f"{server.url}/openapi.json", *more, *left_out),
        *("--request-timeout", "20", "--continue-on-failure", "--no-color"),
    ]
    environment = {
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.companion_server.schemathesis_hooks",
        "HEADTAIL_TALLY": str(folder / "tally.json"),
        "HEADTAIL_INPUT": json.dumps(whole),
        "HEADTAIL_OUTPUT": manifest.outputs[0].name,
    }
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def main() -> int:
    """Run, print and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=int, default=300)
    options = parser.parse_args()
    subject = Subject.open(options.bundle, None)
    begun = {"commit": commit(), "versions": versions(), **subject.described()}
    failed = False
    for name, seconds in (("answers", options.seconds), ("keys", options.seconds // 5)):
        figures = run(name, subject, seconds)
        print(name, figures, flush=True)
        record(RESULT, name, {**begun, **figures})
        failed |= bool(figures["exit_status"] or figures["answers_of_500"])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
