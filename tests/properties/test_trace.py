"""The trace: whatever is recorded, the chain holds, and each change of it shows."""

from __future__ import annotations

import hashlib
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.redact import Redactor
from evidence.run_folder import RunFolder
from evidence.trace import FIRST_PREV, TRACE, Trace, TraceError, check_trace, check_trace_bytes

TEXTS = st.text(max_size=20)
FIELDS = st.dictionaries(
    st.from_regex(r"[a-z]{1,6}", fullmatch=True).filter(
        lambda name: name not in {"seq", "prev", "event", "self"}
    ),
    TEXTS | st.integers() | st.booleans(),
    max_size=3,
)
EVENTS = st.lists(st.tuples(TEXTS, FIELDS), min_size=1, max_size=6)


@settings(max_examples=30)  # each example opens two files
@given(EVENTS)
def test_whatever_is_recorded_the_chain_holds(events: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder.create(Path(name), datetime.now(UTC), Redactor())
        with Trace(folder) as trace:
            for event, fields in events:
                trace.add(event, **fields)
        check_trace(folder.evidence / TRACE, trace.head, len(events))


def chain(count: int) -> bytes:
    previous, lines = FIRST_PREV, []
    for number in range(1, count + 1):
        fixed = {"seq": number, "prev": previous, "time_utc": "t", "elapsed_seconds": 0}
        lines.append(json.dumps({**fixed, "event": "seen"}).encode() + b"\n")
        previous = hashlib.sha256(lines[-1]).hexdigest()
    return b"".join(lines)


def last_hash(data: bytes) -> str:
    return hashlib.sha256(data.splitlines(keepends=True)[-1]).hexdigest()


@given(st.integers(1, 5), st.data())
def test_one_changed_byte_shows(count: int, data: st.DataObject) -> None:
    good = chain(count)
    check_trace_bytes(good, last_hash(good), count)
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[place]))
    bad = good[:place] + bytes([other]) + good[place + 1 :]
    with pytest.raises(TraceError):
        check_trace_bytes(bad, last_hash(good), count)


@given(st.permutations(range(4)), st.integers(0, 4))
def test_only_all_lines_in_their_order_fit(order: list[int], kept: int) -> None:
    good = chain(4)
    lines = good.splitlines(keepends=True)
    bad = b"".join(lines[index] for index in order[:kept])
    if bad == good:
        return
    with pytest.raises(TraceError):
        check_trace_bytes(bad, last_hash(good), 4)
