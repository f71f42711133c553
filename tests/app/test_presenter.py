"""What a listener is told last is what is so."""

from app.presenter import Presenter


class Number(Presenter[int]):
    def show(self, number):
        self._show(number)


def test_a_change_that_a_listener_causes_is_the_last_that_everybody_hears_of():
    number = Number(0)
    told: list[int] = []
    number.subscribe(lambda state: number.show(2) if state == 1 else None)
    number.subscribe(told.append)
    number.show(1)
    assert number.state == 2
    assert told == [0, 2]


def test_who_was_unsubscribed_by_another_hears_no_more():
    number = Number(0)
    told: list[int] = []
    number.subscribe(lambda state: end() if state else None)
    end = number.subscribe(told.append)
    number.show(1)
    assert told == [0]
