"""The golden vectors of a real bundle through the adapters that a phone has."""

import json

import numpy as np
import pytest

from headtail.bundle import open_bundle
from headtail.manifest import FORWARD
from headtail.metrics import snr_db
from headtail.runtimes.litert_ctypes import LiteRTCtypes
from tests.headtail.runtimes.java_process import stored
from tests.java.toolchain import PHONE_PYJNIUS, REACT_NATIVE_EXECUTORCH, executorch_jvm

pytestmark = pytest.mark.slow


def entries_of(artifact):
    return {entry.name: (entry.inputs, entry.outputs) for entry in artifact.entries}


@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_litert_by_ctypes_agrees_as_the_manifest_says(small_bundle, precision):
    bundle = open_bundle(small_bundle)
    golden, artifact = bundle.golden(), bundle.manifest.artifact("litert", precision)
    session = LiteRTCtypes().load(bundle.artifact_path(artifact), entries=entries_of(artifact))
    found = []
    for i in range(artifact.agreement.n):
        results = session.run(FORWARD, [golden[f"input.{i}.image"]])
        pairs = zip(session.outputs(FORWARD), results, strict=True)
        found.append(
            min(snr_db(reference=golden[f"output.{i}.{s.name}"], candidate=r) for s, r in pairs)
        )
    session.close()
    np.testing.assert_allclose(min(found), artifact.agreement.snr_db_min, atol=0.5)


def test_executorch_by_pyjnius_gives_the_golden_outputs_and_boundary(small_bundle, tmp_path):
    bundle = open_bundle(small_bundle)
    golden, artifact = bundle.golden(), bundle.manifest.artifact("executorch", "fp32")

    class Golden:
        path = bundle.artifact_path(artifact)
        entries = entries_of(artifact)
        inputs = (golden["input.0.image"],)

        def expected(self, entry):
            prefix = "output.0" if entry == FORWARD else "cut.b1.0"
            return [golden[f"{prefix}.{spec.name}"] for spec in self.entries[entry][1]]

    folder = stored(Golden(), tmp_path / "stored")
    jvm = executorch_jvm(pyjnius=PHONE_PYJNIUS, classes=REACT_NATIVE_EXECUTORCH[-1])
    said = jvm.run("tests.headtail.runtimes.java_process", "executorch", str(folder))
    assert not json.loads(said.splitlines()[-1])["check_right_results"]
