"""The options of a cluster refuse what cannot be."""

import subprocess
import sys
from typing import Any

import pytest

from companion_server.ray_serve import ClusterOptions
from headtail.errors import UsageFault


@pytest.mark.parametrize("field", ["replicas", "cpus", "object_store_bytes"])
def test_nothing_is_zero(field):
    with pytest.raises(UsageFault, match=f"{field} is 0"):
        ClusterOptions(**dict[str, Any]({field: 0}))


def test_the_most_replicas_are_not_fewer_than_the_fewest():
    with pytest.raises(UsageFault, match="max_replicas is 2 and replicas is 3"):
        ClusterOptions(replicas=3, max_replicas=2)


def test_a_fixed_number_needs_no_most():
    assert ClusterOptions(replicas=3).max_replicas == 0


def test_importing_the_package_needs_neither_ray_nor_torch():
    probe = (
        "import sys, companion_server.ray_serve as _; print({'ray', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"
