"""Jobs in, results and exit codes out; every failure is one sentence in the result file."""

import numpy as np
import pytest

from app.agent import perform
from app.agent.schema import BundleReply, CallsReply
from headtail.bundle import open_bundle
from headtail.errors import EnvironmentFault, UsageFault
from headtail.strictjson import from_json, to_json
from tests.app.agent.test_schema import BUNDLE, CALLS
from tests.app.benchmark.echo import EchoRuntime

TINY = BUNDLE | {"bundle": "tiny.bundle", "runs": 3, "threads": [1, 2]}


def calls_job(bundle, **changes):
    manifest = open_bundle(bundle).manifest
    artifact = manifest.artifacts[0]
    golden = open_bundle(bundle).golden()
    np.save(bundle.parent / "in0.npy", golden["input.1.image"])
    return CALLS | {
        "model": f"tiny.bundle/{artifact.path}",
        "sha256": manifest.files[artifact.path].sha256,
        "entries": to_json(artifact.entries),
        "runs": 2,
        **changes,
    }


def test_a_bundle_is_checked_replayed_and_measured(agent):
    code, value = agent.do(TINY)
    reply = from_json(BundleReply, value)
    assert (code, reply.good) == (0, True)
    assert [(r.entry, r.samples, r.fault) for r in reply.replayed] == [
        ("forward", 2, ""),
        ("head_early", 2, ""),
        ("head_late", 2, ""),
    ]
    assert reply.bundle_id == open_bundle(agent.bundle).manifest.bundle_id
    assert reply.machine.device == "Toaster 5"
    assert [left.name for left in reply.left_out] == ["coreml fp32"]
    cells = value["benchmark"]["cells"]
    assert [(c["cell"]["threads"], c["timing"]["runs"]) for c in cells] == [(1, 3), (2, 3)]


def test_without_a_benchmark_nothing_is_timed(agent):
    code, value = agent.do(TINY | {"benchmark": False})
    assert (code, value["benchmark"]) == (0, None)


def test_every_accelerator_is_replayed(agent):
    agent.runtimes = [EchoRuntime(agent.bundle, accelerators=("cpu", "npu"))]
    _, value = agent.do(TINY | {"benchmark": False})
    assert {row["accelerator"] for row in value["replayed"]} == {"cpu", "npu"}
    assert len(value["replayed"]) == 6


def test_a_wrong_output_is_exit_code_1_with_its_fault(agent):
    agent.runtimes = [EchoRuntime(agent.bundle, change=lambda a: a * np.float32(1.01))]
    code, value = agent.do(TINY)
    assert (code, value["good"]) == (1, False)
    assert all("the gate is 90.0" in row["fault"] for row in value["replayed"])
    assert all(cell["timing"] is None for cell in value["benchmark"]["cells"])


def test_a_runtime_that_refuses_the_file_is_a_fault_of_each_entry_point(agent):
    agent.runtimes = [EchoRuntime(agent.bundle)]
    agent.runtimes[0].load = lambda *_args, **_kwargs: 1 / 0
    code, value = agent.do(TINY | {"benchmark": False})
    assert code == 1
    assert [r["fault"] for r in value["replayed"]] == ["ZeroDivisionError: division by zero"] * 3


@pytest.mark.parametrize(
    ("spoil", "code", "error", "says"),
    [
        ("bundle", 2, "UsageFault", "is not a bundle"),
        ("byte", 1, "IntegrityFault", "tiny.fp32.tflite"),
        ("runtime", 3, "RuntimeUnavailable", "Nothing of tiny can run here"),
        ("json", 2, "SchemaFault", "Not JSON"),
        ("absent", 2, "UsageFault", "cannot be read"),
        ("huge", 2, "UsageFault", "more than"),
    ],
)
def test_what_goes_wrong_is_told_in_the_result(agent, spoil, code, error, says):
    job = agent.folder / "job.json"
    if spoil == "bundle":
        found = agent.do(TINY | {"bundle": "none.bundle"})
    elif spoil == "byte":
        model = agent.bundle / "artifacts/tiny.fp32.tflite"
        model.write_bytes(model.read_bytes()[:-1])
        found = agent.do(TINY)
    elif spoil == "runtime":
        agent.runtimes = []
        found = agent.do(TINY)
    else:
        if spoil != "absent":
            job.write_bytes(b"{" if spoil == "json" else b" " * (2 << 20))
        found = agent.perform()
    assert found[0] == code
    assert set(found[1]) == {"schema_version", "error", "message"}
    assert found[1]["error"] == error
    assert says in found[1]["message"]


def test_calls_give_arrays_and_times(agent):
    code, value = agent.do(calls_job(agent.bundle, warmup=1))
    reply = from_json(CallsReply, value)
    assert code == 0
    assert (reply.runtime, reply.timing_kind, len(reply.calls[0].runs_ms)) == ("echo", "host", 2)
    assert reply.calls[0].outputs == ("0.0.npy",)
    golden = open_bundle(agent.bundle).golden()
    np.testing.assert_array_equal(np.load(agent.folder / "0.0.npy"), golden["output.1.logits"])
    assert agent.runtimes[0].open == 0


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"sha256": "0" * 64}, 1, "The job promises SHA-256 0000"),
        ({"model": "tiny.bundle"}, 2, "is not a file"),
        ({"runtime": "abacus"}, 2, "Unknown runtime 'abacus'. Known: echo"),
        ({"format": "coreml"}, 3, "Nothing here runs coreml"),
        ({"accelerator": "npu"}, 2, "Unknown accelerator"),
        ({"calls": [{"entry": "forward", "inputs": []}]}, 1, "0 inputs were given"),
        ({"calls": [{"entry": "forward", "inputs": ["none.npy"]}]}, 2, "cannot be read"),
        ({"calls": [{"entry": "forward", "inputs": ["job.json"]}]}, 2, "cannot be read"),
        ({"calls": [{"entry": "forward", "inputs": ["half.npy"]}]}, 1, "has shape"),
    ],
)
def test_calls_that_cannot_be_made_say_why(agent, changes, code, says):
    np.save(agent.folder / "half.npy", np.zeros((1, 3, 8, 4), np.float32))
    found = agent.do(calls_job(agent.bundle, **changes))
    assert found[0] == code
    assert says in found[1]["message"]
    assert agent.runtimes[0].open == 0


def test_the_first_runtime_that_can_is_taken_and_the_others_say_why_not(agent):
    absent = EchoRuntime(agent.bundle, name="first", reason="not built in")
    agent.runtimes = [absent, EchoRuntime(agent.bundle, name="second")]
    assert agent.do(calls_job(agent.bundle))[1]["runtime"] == "second"
    message = agent.do(calls_job(agent.bundle, runtime="first"))[1]["message"]
    assert "first: not built in" in message


@pytest.mark.parametrize("path", ["../tiny.bundle", "/etc/passwd", "a/../../b", "tiny.bundle/../x"])
def test_a_confined_job_names_nothing_outside_its_folder(agent, path):
    code, value = agent.do(TINY | {"bundle": path}, confined=True)
    assert (code, value["error"]) == (2, "SchemaFault")
    assert "not a plain path" in value["message"]


def test_a_confined_job_of_its_own_folder_is_done(agent):
    assert agent.do(TINY | {"benchmark": False}, confined=True)[0] == 0


def test_a_result_without_a_folder_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(UsageFault, match="there is no folder"):
        perform(tmp_path / "job.json", tmp_path / "absent" / "result.json")


def test_the_result_replaces_a_former_one_whole(agent):
    (agent.folder / "result.json").write_text("former")
    assert agent.do(TINY | {"benchmark": False})[1]["good"]
    assert not list(agent.folder.glob("*.part"))


def test_an_archive_of_arrays_is_no_input(agent):
    job = calls_job(agent.bundle)
    with (agent.folder / "in0.npy").open("wb") as file:
        np.savez(file, image=np.zeros(3))
    code, value = agent.do(job)
    assert (code, value["error"]) == (2, "UsageFault")
    assert "in0.npy cannot be read" in value["message"]


def test_an_array_that_promises_more_than_there_is_memory(agent):
    job = calls_job(agent.bundle)
    with (agent.folder / "in0.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 44,)}
        np.lib.format.write_array_header_1_0(file, header)
    code, value = agent.do(job)
    assert (code, value["error"]) == (2, "UsageFault")


def test_a_result_that_cannot_be_written_is_told_to_whoever_asked(agent):
    (agent.folder / "result.json").mkdir()
    with pytest.raises(EnvironmentFault, match=r"result\.json cannot be written"):
        agent.do(TINY | {"benchmark": False})
