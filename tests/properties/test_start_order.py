"""The stack file's start order: every service once, after all that it needs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cli import ConfigurationError
from stack.load import start_order

COUNTS = st.integers(1, 8)


def services(needs: list[set[int]]) -> list[Any]:
    """Services with just what the order is made of."""
    return [
        SimpleNamespace(name=f"s{index}", depends_on=tuple(f"s{one}" for one in sorted(some)))
        for index, some in enumerate(needs)
    ]


@given(st.data(), COUNTS)
def test_each_service_starts_once_and_after_what_it_needs(data: st.DataObject, count: int) -> None:
    needs = [
        data.draw(st.sets(st.integers(0, index - 1))) if index else set() for index in range(count)
    ]
    mixed = data.draw(st.permutations(services(needs)))
    waves = start_order(mixed)
    place = {name: number for number, wave in enumerate(waves) for name in wave}
    assert sorted(name for wave in waves for name in wave) == sorted(one.name for one in mixed)
    assert all(place[need] < place[one.name] for one in mixed for need in one.depends_on)


@given(COUNTS, st.integers(0, 7))
def test_a_circle_is_refused_whatever_its_length(count: int, length: int) -> None:
    size = min(length, count - 1) + 1
    circle = [{(index + 1) % size} if index < size else set() for index in range(count)]
    with pytest.raises(ConfigurationError, match="circle"):
        start_order(services(circle))
