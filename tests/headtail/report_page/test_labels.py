import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.report_page.labels import Box, Tag, apart, place_labels

FRAME = Box(0, 0, 400, 300)


def test_labels_keep_out_of_each_other_s_way():
    """Of marks in a row, close together but not too close, no label covers a mark or a label."""
    tags = [Tag(Box(100 + 26 * i, 150.0, 10, 10), "w8", False) for i in range(6)]
    labels = [box for box in place_labels(tags, [], FRAME) if box]
    assert len(labels) == 6
    for i, label in enumerate(labels):
        others = [*(tag.mark for tag in tags), *labels[:i], *labels[i + 1 :]]
        assert sum(label.shared(other) for other in others) == 0
        assert label.outside(FRAME) == 0


def test_a_label_stays_inside_and_off_what_is_taken():
    frame = Box(0, 0, 100, 100)
    tag = Tag(Box(88, 45, 10, 10), "fp32", True)
    [label] = place_labels([tag], [], frame)
    assert label
    assert label.x + label.width <= 88
    line = Box(0, 49, 88, 2)
    [label] = place_labels([tag], [line], frame)
    assert label
    assert label.shared(line) == 0


def test_in_a_crowd_the_needed_are_named_first():
    """Of forty marks on one spot most have no room; the one on the front has."""
    tags = [Tag(Box(200, 150, 10, 10), f"w8a{i}", i == 17) for i in range(40)]
    labels = place_labels(tags, [], FRAME)
    assert labels[17] is not None
    assert labels[17].shared(tags[17].mark) == 0
    left_out = sum(box is None for box in labels)
    assert 5 <= left_out < 39
    kept = [box for box in labels if box]
    assert all(a.shared(b) <= 24 for a, b in itertools.combinations(kept, 2))


def test_shared_area():
    assert Box(0, 0, 10, 10).shared(Box(5, 8, 10, 10)) == 10
    assert Box(0, 0, 10, 10).shared(Box(20, 0, 1, 1)) == 0
    assert Box(0, 0, 10, 10).outside(Box(5, 0, 100, 100)) == pytest.approx(50)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 300), min_size=1, max_size=9))
def test_labels_at_the_ends_of_lines_are_moved_apart(places):
    moved = apart(places, 15)
    assert all(now >= was for now, was in zip(moved, places, strict=True))
    ordered = sorted(moved)
    assert all(b - a >= 15 - 1e-9 for a, b in itertools.pairwise(ordered))
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert [moved[i] for i in order] == ordered
    far = [100.0 * i for i in range(len(places))]
    assert apart(far, 15) == far
