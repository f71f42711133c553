"""The options of a cluster refuse what cannot be."""

import pytest

from companion_server.ray_serve import ClusterOptions
from headtail.errors import UsageFault


@pytest.mark.parametrize("field", ["replicas", "cpus", "object_store_bytes"])
def test_nothing_is_zero(field):
    with pytest.raises(UsageFault, match=f"{field} is 0"):
        ClusterOptions(**{field: 0})


def test_the_most_replicas_are_not_fewer_than_the_fewest():
    with pytest.raises(UsageFault, match="max_replicas is 2 and replicas is 3"):
        ClusterOptions(replicas=3, max_replicas=2)


def test_a_fixed_number_needs_no_most():
    assert ClusterOptions(replicas=3).max_replicas == 0
