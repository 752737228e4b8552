"""traffic.locust_merge: news in the order in which it happened."""

from __future__ import annotations

import math

from traffic.locust_merge import Merge


def test_what_is_not_known_yet_is_kept() -> None:
    merge: Merge[str] = Merge()
    merge.put(3.0, "late")
    merge.put(1.0, "early")
    assert [*merge.take(2.0)] == ["early"]
    merge.put(1.5, "from the slower one")
    assert len(merge) == 2
    assert [*merge.take(math.inf)] == ["from the slower one", "late"]


def test_equal_times_keep_their_order() -> None:
    merge: Merge[object] = Merge()
    for item in ([1], {"a": 1}, [0]):  # neither can be compared with the others
        merge.put(1.0, item)
    assert [*merge.take(1.0)] == [[1], {"a": 1}, [0]]
