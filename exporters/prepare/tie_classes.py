"""Classes of numbered things, each tied to others directly or inversely (a signed union-find)."""

from __future__ import annotations

import torch

__all__ = ["Settled", "Ties"]


class Settled:
    """Every number's class: positive or, if it is tied inversely, negative; 0 with the number 0."""

    def __init__(self, table: torch.Tensor) -> None:
        self._table = table
        self.classes = int(table.max()) if table.numel() else 0

    def __call__(self, numbers: torch.Tensor) -> torch.Tensor:
        """The classes of numbers, strides of zero kept."""
        narrow = _narrow(numbers)
        found = self._table[narrow.abs()] * narrow.sign()
        return found.expand(numbers.shape)


class Ties:
    """Numbers from 1; -n is the inverse of n. Tied to 0: nothing is its own inverse but 1."""

    def __init__(self) -> None:
        self._parent = [0]
        self._sign = [1]

    def fresh(self, count: int) -> torch.Tensor:
        """That many numbers that are tied to nothing, int64 (count,)."""
        first = len(self._parent)
        self._parent += range(first, first + count)
        self._sign += [1] * count
        return torch.arange(first, first + count)

    def tie(self, left: torch.Tensor, right: torch.Tensor) -> None:
        """Tie numbers to those in the same places of the other, which broadcast."""
        both = torch.broadcast_tensors(left, right)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        first, second = (_narrow(one) for one in both)
        for axis, (one, two) in enumerate(zip(first.shape, second.shape, strict=True)):
            if one != two:  # narrow in one, not in the other
                first, second = (t.expand(_with(t, axis, max(one, two))) for t in (first, second))
        count = len(self._parent)
        pairs = (first.flatten() + count) * (2 * count) + second.flatten() + count
        for pair in torch.unique(pairs).tolist():
            one, two = divmod(pair, 2 * count)
            self._join(one - count, two - count)

    def free(self, numbers: torch.Tensor) -> bool:
        """Is any of them not tied to 0?"""
        return any(self._root(n)[0] for n in torch.unique(_narrow(numbers).abs()).tolist())

    def settled(self) -> Settled:
        """Classes numbered from 1 in the order of their first numbers."""
        order: dict[int, int] = {0: 0}
        found = []
        for number in range(len(self._parent)):
            root, sign = self._root(number)
            found.append(sign * order.setdefault(root, len(order)))
        return Settled(torch.tensor(found))

    def _join(self, one: int, two: int) -> None:
        first, second = self._root(one), self._root(two)
        if first[0] == second[0]:
            if first[1] != second[1]:
                self._parent[first[0]] = 0
            return
        low, high = sorted((first, second))  # 0 is the root of its class
        self._parent[high[0]] = low[0]
        self._sign[high[0]] = low[1] * high[1]

    def _root(self, number: int) -> tuple[int, int]:
        """Its class, and whether it is tied to that inversely (-1)."""
        at, sign = abs(number), -1 if number < 0 else 1
        path = []
        while self._parent[at] != at:
            path.append(at)
            sign *= self._sign[at]
            at = self._parent[at]
        self._shorten(path, at)
        return at, sign

    def _shorten(self, path: list[int], root: int) -> None:
        sign = 1
        for at in reversed(path):
            sign *= self._sign[at]
            self._parent[at], self._sign[at] = root, sign


def _narrow(numbers: torch.Tensor) -> torch.Tensor:
    """One place of every axis along which all places are the same memory."""
    for axis, stride in enumerate(numbers.stride()):
        if stride == 0:
            numbers = numbers.narrow(axis, 0, 1)
    return numbers


def _with(value: torch.Tensor, axis: int, size: int) -> list[int]:
    sizes = list(value.shape)
    sizes[axis] = size
    return sizes
