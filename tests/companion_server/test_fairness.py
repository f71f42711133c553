from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion_server.fairness import MAX_LEFT, FairQueue

CLIENTS = st.lists(st.sampled_from("abcd"), max_size=40)


@given(CLIENTS)
def test_everything_leaves_once_and_each_clients_own_in_order(clients):
    queue: FairQueue[Any] = FairQueue()
    for number, client in enumerate(clients):
        queue.add(client, (client, number))
    assert len(queue) == len(clients) == len(list(queue))
    assert queue.clients == len(set(clients))
    left = []
    while (first := queue.peek()) is not None:
        assert queue.take(1.0) is first
        left.append(first)
    assert sorted(left) == sorted((client, number) for number, client in enumerate(clients))
    for client in "abcd":
        own = [number for name, number in left if name == client]
        assert own == sorted(own)


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 30), min_size=2))
def test_while_all_wait_nobody_is_two_ahead(backlogs):
    queue: FairQueue[Any] = FairQueue()
    for client, count in backlogs.items():
        for _ in range(count):
            queue.add(client, client)
    served: Counter[Any] = Counter()
    for _ in range(min(backlogs.values()) * len(backlogs)):
        served[queue.take(1.0)] += 1
    assert max(served.values()) - min(served[client] for client in backlogs) <= 1


def test_who_sends_one_by_one_gets_as_much_as_who_sends_many_at_once():
    queue: FairQueue[Any] = FairQueue()
    served: Counter[Any] = Counter()
    for _ in range(200):
        queue.add("many", "many")
    queue.add("one", "one")
    for _ in range(100):
        taken = queue.take(1.0)
        served[taken] += 1
        if taken == "one":  # it was answered and asks again
            queue.add("one", "one")
    assert abs(served["one"] - served["many"]) <= 2


def test_dear_work_counts_for_more():
    queue: FairQueue[Any] = FairQueue()
    served: Counter[Any] = Counter()
    for _ in range(60):
        queue.add("dear", 4.0)
        queue.add("cheap", 1.0)
    for _ in range(50):
        cost = queue.peek() or 0.0
        queue.take(cost)
        served[cost] += 1
    assert served[1.0] == pytest.approx(4 * served[4.0], abs=4)


def test_leaving_and_coming_back_wins_nothing():
    queue: FairQueue[Any] = FairQueue()
    order = []
    for client in "abc":
        queue.add(client, client)
        queue.add(client, client)
    for _ in range(6):
        taken = queue.take(1.0)
        order.append(taken)
        if taken == "a" and order.count("a") == 2:
            queue.add("a", "a")  # its queue was empty for an instant
    assert order == list("abcabc")
    assert queue.peek() == "a"


def test_what_is_removed_is_not_given_and_its_client_can_come_back():
    queue: FairQueue[Any] = FairQueue()
    first, second = queue.add("a", 1), queue.add("a", 2)
    assert queue.remove("a", first)
    assert not queue.remove("a", first)
    assert queue.remove("a", second)
    assert queue.peek() is None
    assert len(queue) == queue.clients == 0
    queue.add("a", 3)
    assert queue.take(1.0) == 3
    with pytest.raises(IndexError):
        queue.take(1.0)


def test_first_goes_before_the_clients_own_only():
    queue: FairQueue[Any] = FairQueue()
    queue.add("a", "old")
    queue.add("b", "other")
    queue.add("a", "again", first=True)
    assert [queue.take(1.0) for _ in range(3)] == ["again", "other", "old"]


@given(CLIENTS)
def test_ahead_is_how_many_leave_before_a_new_one(clients):
    queue: FairQueue[Any] = FairQueue()
    for client in clients:
        queue.add(client, "old")
    predicted = queue.ahead("a")
    queue.add("a", "new")
    before = 0
    while queue.take(1.0) != "new":
        before += 1
    assert before <= predicted


def test_clients_that_never_come_back_are_forgotten():
    queue: FairQueue[Any] = FairQueue()
    for number in range(4 * MAX_LEFT):
        queue.add(str(number), number)
        queue.take(1.0)
    assert len(queue._left) <= MAX_LEFT + 1
