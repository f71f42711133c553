"""What makes the demo exit 0, and what it refuses before the long work."""

import dataclasses

import pytest

from headtail.cli.demo import _good
from headtail.cli.main import main
from headtail.demo import Fallback, Split

SPLIT = Split("c", "aq8t+deflate", 50, 0.98, 0.9, 1.0, 9.0, 12.0, 1.5, 9_000, 90_000)
FALLBACK = Fallback(25, 25, 25, 25, 25, 25, 1000.0, 30.0)


def test_all_figures_at_their_gates_are_good():
    assert _good(SPLIT, FALLBACK)


@pytest.mark.parametrize("field", ["answered", "right", "in_time", "marked_lost"])
def test_one_input_less_is_not_good(field):
    assert not _good(SPLIT, dataclasses.replace(FALLBACK, **{field: 24}))


def test_too_little_agreement_is_not_good():
    assert not _good(dataclasses.replace(SPLIT, agreement=0.96), FALLBACK)


def test_an_existing_bundle_is_not_replaced_unasked(tmp_path, capsys):
    pytest.importorskip("torch")
    (tmp_path / "mine.bundle").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["demo", "-o", str(tmp_path / "mine.bundle")])
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert "already exists" in shown.err
    assert "--force" in shown.err
