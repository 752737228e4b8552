"""stack.log_views and the compose runtime's: what is new in a log, or that nobody knows (G3d)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import APIError

from common.cli import ScriptError
from stack.compose.containers import Listed
from stack.compose.engine import Endpoint, Engine
from stack.compose.log_views import ContainerView
from stack.log_views import FileView

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FakeLogs:
    """An engine that has one log: moments and lines."""

    def __init__(self, *lines: str) -> None:
        self.lines = [(100.0 + number, line) for number, line in enumerate(lines)]
        self.refuses = False
        self.since: list[float] = []

    @property
    def api(self) -> FakeLogs:
        return self

    def write(self, line: str) -> None:
        self.lines.append((self.lines[-1][0] + 1 if self.lines else 100.0, line))

    def logs(self, _container: str, **options: Any) -> Any:
        if self.refuses:
            raise APIError("none", explanation="the logging driver does not support reading")
        if options.get("tail") == 1:
            return b"".join(self._stamped(*row) for row in self.lines[-1:])
        return self._stream(options.get("since", 0.0), bool(options.get("timestamps")))

    def _stream(self, since: float, stamped: bool) -> Iterator[bytes]:  # noqa: FBT001
        self.since.append(since)
        rows = [row for row in self.lines if row[0] >= since]
        return (self._stamped(*row) if stamped else f"{row[1]}\n".encode() for row in rows)

    @staticmethod
    def _stamped(moment: float, line: str) -> bytes:
        minutes, seconds = divmod(int(moment), 60)
        return f"1970-01-01T00:{minutes:02}:{seconds:02}.000000000Z {line}\n".encode()


def viewed(fake: FakeLogs) -> ContainerView:
    engine = Engine(fake, Endpoint("unix:///none"))  # type: ignore[arg-type]  # only its logs
    return ContainerView(engine, Listed("1" * 64, "front", "running", "Up"))


def test_a_file_is_read_from_its_end_on(tmp_path: Path) -> None:
    path = tmp_path / "front.log"
    path.write_bytes(b"before\n")
    view = FileView(path)
    assert b"".join(view.blocks()) == b""
    with path.open("ab") as file:
        file.write(b"after\n")
    assert b"".join(view.blocks()) == b"after\n"


@pytest.mark.parametrize("what", ["gone", "shorter", "another"])
def test_a_file_that_changed_hands_says_nothing(tmp_path: Path, what: str) -> None:
    path = tmp_path / "front.log"
    path.write_bytes(b"before\n")
    view = FileView(path)
    if what == "shorter":
        path.write_bytes(b"")
    else:
        path.rename(tmp_path / "front.log.1")
    if what == "another":
        path.write_bytes(b"before\nafter\n")
    with pytest.raises(ScriptError, match=r"front\.log (is another file|can't be read)"):
        [*view.blocks()]
    if what == "gone":
        with pytest.raises(ScriptError, match="can't be read"):
            FileView(path)


def test_a_container_is_read_from_its_last_line_on() -> None:
    fake = FakeLogs("first", "last")
    view = viewed(fake)
    fake.write("new")
    assert b"".join(view.blocks()) == b"last\nnew\n"
    assert fake.since == [pytest.approx(101, abs=0.001)] * 2
    assert fake.since[0] <= 101


def test_a_container_without_a_line_is_read_whole() -> None:
    fake = FakeLogs()
    view = viewed(fake)
    fake.write("new")
    assert b"".join(view.blocks()) == b"new\n"


def test_a_log_that_lost_its_mark_says_nothing() -> None:
    """Rotated away, cut, or of another container: what was in it nobody knows."""
    fake = FakeLogs("last")
    view = viewed(fake)
    fake.write("new")
    del fake.lines[0]
    with pytest.raises(ScriptError, match="the log of front was cut"):
        [*view.blocks()]
    fake.lines.clear()
    with pytest.raises(ScriptError, match="the log of front was cut"):
        [*view.blocks()]


@pytest.mark.parametrize("line", ["", "tick"])
def test_the_same_words_later_are_not_the_mark(line: str) -> None:
    """A log was cut after something was written; its last line says what many lines say."""
    fake = FakeLogs(line)
    view = viewed(fake)
    fake.write("what nobody saw")
    fake.write(line)
    del fake.lines[:2]
    with pytest.raises(ScriptError, match="the log of front was cut"):
        [*view.blocks()]


def test_an_engine_that_gives_no_log_is_no_silence() -> None:
    fake = FakeLogs("last")
    view = viewed(fake)
    fake.refuses = True
    with pytest.raises(ScriptError, match="does not support reading"):
        [*view.blocks()]
    with pytest.raises(ScriptError, match="does not support reading"):
        viewed(fake)
