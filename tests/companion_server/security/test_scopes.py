"""Scopes: their grammar, their globs, and the sentence of a refusal."""

import pytest

from companion_server.security.refusals import Forbidden
from companion_server.security.scopes import ANONYMOUS, NOBODY, VERBS, Principal, Scope, require
from headtail.errors import HeadtailError, UnknownName, UsageFault


def test_text_and_back():
    for text in ("infer:*", "read:toy-?", "publish:efficientnet_*", "admin:*", "metrics:*"):
        assert str(Scope.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["infer", "infer:", "infer:a b", "infer:[ab]", "read:*\n", "a" * 999]
)
def test_what_is_no_scope(text):
    with pytest.raises(UsageFault):
        Scope.parse(text)


def test_an_unknown_verb_lists_the_verbs():
    with pytest.raises(UnknownName, match="Did you mean 'infer'"):
        Scope.parse("inferr:*")


def test_globs():
    principal = Principal("k", "k", (Scope("infer", "toy*"), Scope("read", "*")))
    assert principal.allows("infer", "toy-1")
    assert principal.allows("infer")
    assert not principal.allows("infer", "Toy-1")
    assert not principal.allows("infer", "other")
    assert not principal.allows("infer", "")
    assert principal.allows("read", "")
    assert not principal.allows("publish")


def test_everybody_and_nobody():
    assert all(ANONYMOUS.allows(verb, "any") for verb in VERBS)
    assert not any(NOBODY.allows(verb) for verb in VERBS)


def test_a_refusal_says_what_is_missing():
    with pytest.raises(Forbidden) as caught:
        require(Principal("k", "phone", (Scope("infer", "toy"),)), "publish", "other")
    assert str(caught.value) == (
        "Key 'phone' may not publish 'other'. It has the scopes: infer:toy. "
        "Use a key with the scope publish:other."
    )
    error: HeadtailError = caught.value
    assert error.http_status == 403
