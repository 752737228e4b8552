"""scripts/security/log_tail.py and known_values.py: a log that nobody read is not clean (G3d)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from common.cli import ScriptError
from security.known_values import hits, search
from security.log_tail import LogTail
from security.places import NotHadError
from stack.log_views import NO_LOG, FileView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SECRET = "correct-horse-battery"


def system(views: Mapping[str, Any] | ScriptError) -> Any:
    """A running system with a service `front` and these logs."""

    def log_views() -> Mapping[str, Any]:
        if isinstance(views, ScriptError):
            raise views
        return views

    services = [SimpleNamespace(name="front")]
    return SimpleNamespace(name="compose", services=services, log_views=log_views)


class Broken:
    """A log that breaks off."""

    settle_seconds = 0.0

    def blocks(self) -> Iterator[bytes]:
        yield b"a part"
        raise ScriptError("the log of front was cut while it was watched")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "front.log"
    path.write_text(f"{SECRET}\n")
    return path


def test_what_is_written_from_now_on_is_found(log: Path) -> None:
    tail = LogTail(system({"front": FileView(log), "database": FileView(log)}), [SECRET])
    assert tail.found() == []
    with log.open("a") as file:
        file.write(f"x {SECRET} y\n")
    assert tail.found() == ["front", "database"]


def test_without_a_text_no_log_is_asked_for() -> None:
    assert LogTail(system(ScriptError("no engine")), []).found() == []


@pytest.mark.parametrize(
    "views",
    [{}, {"front": None}, ScriptError("the engine is gone")],
    ids=["none", "unseen", "refused"],
)
def test_a_log_that_can_not_be_seen_is_no_case(views: Any) -> None:
    with pytest.raises(NotHadError):
        LogTail(system(views), [SECRET])


def test_a_log_that_breaks_off_is_no_case() -> None:
    tail = LogTail(system({"front": Broken()}), [SECRET])
    with pytest.raises(NotHadError, match="was cut"):
        tail.found()


def test_a_value_across_two_parts_is_found() -> None:
    wanted = {SECRET.encode(): "a secret"}
    for cut in range(1, len(SECRET)):
        blocks = [b"x" * 50 + SECRET[:cut].encode(), SECRET[cut:].encode() + b"y" * 50]
        assert {*hits(blocks, wanted)} == {"a secret"}
    assert not {*hits([b"correct-horse", b"-", b"batter"], wanted)}


def test_a_log_that_was_not_seen_is_named_and_not_counted(log: Path) -> None:
    found = search({"front": log, "back": None}, {SECRET: "a secret"})
    assert (found.logs, found.unseen) == (1, ("back",))
    assert found.found == ("front: a secret",)


@pytest.mark.parametrize("before", ["", "a line\n", "half a line"])
def test_a_log_that_the_engine_did_not_give_whole_was_not_seen(log: Path, before: str) -> None:
    log.write_text(f"{before}{NO_LOG}the Docker engine refused]\n")
    assert search({"front": log}, {}).unseen == ("front",)
    log.write_text(f"{before}{NO_LOG}\nthe service goes on\n")
    assert search({"front": log}, {}).unseen == ()
