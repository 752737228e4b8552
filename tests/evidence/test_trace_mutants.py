"""evidence.trace, where mutants lived: what a line says, and what a refusal says (H8)."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evidence.files import ArtifactError
from evidence.redact import Redactor
from evidence.run_folder import RunFolder
from evidence.trace import (
    FIRST_PREV,
    READABLE_TRACE,
    TRACE,
    Trace,
    TraceError,
    check_trace_bytes,
    readable_line,
)

FULL = "can't write the trace: no space left on device: give a folder with space"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, datetime.now(UTC), Redactor())


def event(seq: Any = 1, prev: str = FIRST_PREV, **changes: Any) -> dict[str, Any]:
    fixed = {"seq": seq, "prev": prev, "time_utc": "2026-11-20T00:00:00.000Z"}
    return {**fixed, "elapsed_seconds": 0.5, "event": "seen", **changes}


def chain(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in events)


def head(data: bytes) -> str:
    return hashlib.sha256(data.splitlines(keepends=True)[-1]).hexdigest()


def refusal(data: bytes, count: int = 1, wanted: str | None = None) -> str:
    with pytest.raises(TraceError) as caught:
        check_trace_bytes(data, wanted or head(data), count)
    return str(caught.value)


def test_a_trace_of_one_event_is_accepted() -> None:
    data = chain(event())
    check_trace_bytes(data, head(data), 1)


@pytest.mark.parametrize("seq", [True, 1.0, "1", 2, 0, None])
def test_a_seq_is_the_whole_number_of_its_line(seq: object) -> None:
    assert refusal(chain(event(seq))) == f"line 1: expected seq 1, got {_shown(seq)}"


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def test_a_refusal_says_expected_and_got() -> None:
    data = chain(event())
    assert refusal(data, 0) == "expected a trace of at least one event, got the count 0"
    assert refusal(data[:-1]) == "expected a final newline, got a line that was cut"
    assert refusal(data, 2) == "expected 2 events, got 1"
    assert refusal(data, 1, "x") == f"expected the head 'x', got {head(data)}"
    assert refusal(b"{}\n") == (
        "line 1: expected an event with seq, prev, time_utc, elapsed_seconds, event"
    )
    assert refusal(b"{\n").startswith("line 1:1: not JSON: ")
    assert refusal(chain(event(prev="x"))) == (
        f"line 1: expected prev {FIRST_PREV}, got 'x': "
        "the line before was changed, moved or removed"
    )


def test_the_readable_line_shows_time_event_and_fields() -> None:
    shown = readable_line(event(event="a\r\nb", job=Path("x"), note="two words"))
    # A path is no JSON: it is shown as text.
    wanted = '2026-11-20T00:00:00.000Z       0.500s  a  b  job="x" note="two words"\n'
    assert re.sub(" +", " ", shown) == re.sub(" +", " ", wanted)
    assert shown.startswith("2026-11-20T00:00:00.000Z       0.500s  a  b  ")
    assert readable_line(event()).endswith("  seen\n")


def test_a_value_that_json_lacks_is_written_as_text_but_nan_is_a_bug(folder: RunFolder) -> None:
    with Trace(folder) as trace:
        trace.add("seen", where=Path("x"))
        with pytest.raises(ValueError, match="Out of range float"):
            trace.add("seen", value=float("nan"))
    record = json.loads((folder.evidence / TRACE).read_text("utf-8"))
    assert record["where"] == "x"
    assert trace.count == 1


def test_elapsed_seconds_count_from_the_start_in_microseconds(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([100.0, 101.23456789])
    monkeypatch.setattr("evidence.trace.time.monotonic", lambda: next(moments))
    with Trace(folder) as trace:
        trace.add("seen")
    record = json.loads((folder.evidence / TRACE).read_text("utf-8"))
    assert record["elapsed_seconds"] == 1.234568


def test_both_files_are_utf8_with_lf_on_every_system(folder: RunFolder) -> None:
    with Trace(folder) as trace:
        trace.add("größer", note="é")
    for name in (TRACE, READABLE_TRACE):
        data = (folder.evidence / name).read_bytes()
        assert b"\r" not in data
        assert data.endswith(b"\n")
        assert "gr" in data.decode("utf-8")


def test_the_writer_ends_with_the_process_and_has_a_name(folder: RunFolder) -> None:
    """A thread that is no daemon keeps a finished run from ending."""
    with Trace(folder):
        writers = [thread for thread in threading.enumerate() if thread.name == "trace"]
        assert writers
        assert all(thread.daemon for thread in writers)


def test_what_cannot_be_written_is_named_with_its_reason(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Trace(folder)

    def full(_text: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trace, "_chain", _Broken(full))
    with pytest.raises(ArtifactError) as caught:
        trace.add("seen")
    assert str(caught.value) == FULL
    with pytest.raises(ArtifactError) as caught:
        trace.close()
    assert str(caught.value) == FULL


class _Broken:
    def __init__(self, fail: Any) -> None:
        self.write = fail
        self.close = lambda: fail("")

    def flush(self) -> None:
        """Nothing was written."""


def test_a_trace_that_exists_is_named(folder: RunFolder) -> None:
    Trace(folder).close()
    with pytest.raises(ArtifactError) as caught:
        Trace(folder)
    assert str(caught.value) == (
        f"can't write {folder.evidence / TRACE}: file exists: give a folder with space"
    )
