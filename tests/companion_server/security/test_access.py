"""The table as a tree: against its plain meaning, and against Starlette's own matching."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import compile_path

from companion_server.security.access import MAX_REMEMBERED, ROUTES, Access

TEMPLATES = sorted({entry.split(" ")[1] for entry in ROUTES})
WORDS = sorted({part for template in TEMPLATES for part in template.split("/")})
SEGMENTS = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(["..", ".", "", "toy", "%2e", "live\n", "a b", "\x00", "é", "versions"]),
    st.text(max_size=4),
)
access = Access()


def test_every_entry_is_found():
    for entry, verb in ROUTES.items():
        method, template = entry.split(" ")
        path = template.replace("{", "x").replace("}", "x")
        found = access.find(path)
        assert found is not None
        assert (found.template, found.verbs[method]) == (template, verb)


def test_parameters():
    found = access.find("/v2/models/a/versions/b/infer")
    assert found is not None
    assert found.parameters == {"model": "a", "version": "b"}


@pytest.mark.parametrize(
    "path",
    [
        *("", "v2", "//v2", "/v2/", "/V2", "/v2/health", "/v2//health/live", "/v2/health/live\n"),
        *("/v2/models//infer", "/v2/models/a/b/infer", "/v2/bundles/../metrics", "/" + "a" * 5000),
    ],
)
def test_what_is_not_in_the_table(path):
    assert access.find(path) is None


@settings(deadline=None, max_examples=300)
@given(segments=st.lists(SEGMENTS, max_size=7))
def test_it_agrees_with_starlette(segments):
    """Whatever Starlette would route by a template of the table, the gate takes for that one.

    The other way round it may be stricter: a path that only Starlette finds is refused.
    """
    path = "/" + "/".join(segments)
    found = access.find(path)
    # literal routes before parameters, as an application has to order them
    matching = [t for t in TEMPLATES if compile_path(t)[0].match(path)]
    if found is not None:
        assert found.template in matching
        exact = min(matching, key=lambda template: template.count("{"))
        assert found.template == exact
    elif matching:
        assert path.endswith("\n")  # "$" also matches before a line break at the end


def test_memory_is_bounded():
    own = Access()
    for i in range(3 * MAX_REMEMBERED):
        own.find(f"/v2/models/m{i}")
        own.find(f"/nothing/{i}")
    assert len(own._found) <= MAX_REMEMBERED


def test_two_names_for_one_segment_are_a_mistake():
    with pytest.raises(ValueError, match="two names"):
        Access({"GET /a/{x}": "read", "GET /a/{y}/b": "read"})
