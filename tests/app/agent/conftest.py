"""Agent mode with a stand-in runtime, on a machine that is not there."""

import json

import pytest

from app.agent import perform
from headtail.strictjson import parse
from tests.app.benchmark.conftest import Toaster
from tests.app.benchmark.echo import EchoRuntime
from tests.support.bundles import tiny_bundle


class Agent:
    """`do(job)`: the job written to a file, done, its exit code and result."""

    def __init__(self, folder, bundle):
        self.folder, self.bundle = folder, bundle
        self.runtimes = [EchoRuntime(bundle)]

    def do(self, job, *, confined=False):
        (self.folder / "job.json").write_text(json.dumps(job))
        return self.perform(confined=confined)

    def perform(self, *, confined=False):
        result = self.folder / "result.json"
        code = perform(
            self.folder / "job.json",
            result,
            confined=confined,
            runtimes=lambda: self.runtimes,
            machine=Toaster(),
        )
        return code, parse(result.read_bytes())


@pytest.fixture
def agent(tmp_path):
    return Agent(tmp_path, tiny_bundle(tmp_path).path)
