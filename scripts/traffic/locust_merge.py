"""What several workers tell, in the order in which it happened.

A detector that follows single requests takes the time of what it is told for the time it
is. If one worker's news ran ahead, the last request of a dead one would look like a hang.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = TypeVar("Item")


class Merge(Generic[Item]):
    """Keeps items until everything before them is known; equal times keep their order."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._heap: list[tuple[float, int, Item]] = []
        self._numbers = count()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._heap)

    def put(self, seconds: float, item: Item) -> None:
        """Keep one that happened at some time."""
        heapq.heappush(self._heap, (seconds, next(self._numbers), item))

    def take(self, until_seconds: float) -> Iterator[Item]:
        """Give what happened until some time, the earliest first."""
        while self._heap and self._heap[0][0] <= until_seconds:
            yield heapq.heappop(self._heap)[2]
