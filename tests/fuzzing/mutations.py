"""Ways to break bytes, driven by hypothesis so that each failure is made small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable

TOKENS = (
    b"{",
    b"}",
    b'"',
    b"\0",
    b"\r\n",
    b"\xff\xfe",
    b"NaN",
    b"1e999",
    b"../",
    b"-",
    b"&a *a ",
    b"[" * 50,
)


@st.composite
def broken(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` after one to four changes: a byte, a cut, a repeat, or a token put in."""
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(1, 16))
        data = draw(
            st.sampled_from(
                [
                    data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :],
                    data[:place] + data[place + length :],
                    data[: place + length] + data[place:],
                    data[:place] + draw(st.sampled_from(TOKENS)) + data[place:],
                    data[:place],
                ]
            )
        )
    return data


def refusal(read: Callable[[], object]) -> str:
    """What an expected error says; empty where there was none. Any other error is a bug."""
    try:
        read()
    except ScriptError as problem:
        return str(problem)
    return ""
