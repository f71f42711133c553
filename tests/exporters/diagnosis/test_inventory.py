"""The tables are what the installed converters say of themselves today; stale entries are named."""

import json
import subprocess
import sys

import pytest

from exporters.diagnosis.support import TABLES, support_table, table_path

SCRIPT = """
import json, sys
from exporters.diagnosis.inventory import inventory
print("\\n" + json.dumps(inventory(sys.argv[1])))
"""
NAMES = """
import torch
from coremltools.converters.mil.frontend.torch.utils import (
    sanitize_op_kind, unify_inplace_and_functional)
from exporters.diagnosis.seen import coreml_key
for name in torch._C._dispatch_get_all_op_names():
    theirs = unify_inplace_and_functional(sanitize_op_kind(name))
    assert coreml_key(name) == theirs, (name, coreml_key(name), theirs)
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", TABLES)
def test_table_is_current(target):
    script = SCRIPT if target != "coreml" else NAMES + SCRIPT  # one import of coremltools for both
    done = subprocess.run(
        [sys.executable, "-c", script, target], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    table = support_table(target)
    again = f"run python -m exporters.diagnosis.inventory {target} ({table_path(target).name})"
    assert table.version == found["version"], again
    stale = sorted(table.operators - set(found["operators"]))
    missing = sorted(set(found["operators"]) - table.operators)
    assert (stale, missing) == ([], []), again
