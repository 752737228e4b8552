"""scripts/security/places.py: what is there, what has changed, and what is planted goes again."""

from __future__ import annotations

import os
import stat
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from common.cli import ScriptError
from security import places
from security.places import NotHadError, Planted, differences, snapshot

if TYPE_CHECKING:
    from pathlib import Path


def test_every_kind_of_change_is_seen(tmp_path: Path) -> None:
    for name in ("same", "content", "mode", "gone", "kind"):
        (tmp_path / name).write_text("a")
    (tmp_path / "link").symlink_to("same")
    before = snapshot(tmp_path)
    assert differences(before, snapshot(tmp_path)) == []
    (tmp_path / "content").write_text("b")
    (tmp_path / "mode").chmod(0o777)
    (tmp_path / "gone").unlink()
    (tmp_path / "kind").unlink()
    (tmp_path / "kind").mkdir()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("content")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/new").touch()
    found = [line.replace(f"{tmp_path}/", "") for line in differences(before, snapshot(tmp_path))]
    assert found == [
        *("changed: content", "changed: kind", "changed: link", "changed: mode"),
        *("gone: gone", "new: folder", "new: folder/new"),
    ]


def test_what_is_not_there_has_no_entry(tmp_path: Path) -> None:
    assert snapshot(tmp_path / "none") == {}
    (tmp_path / "none").touch()
    assert differences({}, snapshot(tmp_path / "none")) == [f"new: {tmp_path / 'none'}"]


def test_too_much_to_compare_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_ENTRIES", 3)
    for name in "abcd":
        (tmp_path / name).touch()
    with pytest.raises(ScriptError, match="at most 3 entries"):
        snapshot(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes need rights there")
def test_what_is_planted_is_there_and_goes_again(tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    items = [
        {"kind": "file", "path": str(tmp_path / "new/folder/file"), "content": "bait"},
        {"kind": "folder", "path": str(tmp_path / "empty")},
        {"kind": "symlink", "path": str(tmp_path / "link"), "target": "/etc"},
        {
            "kind": "hard_link",
            "path": str(tmp_path / "hard"),
            "target": str(tmp_path / "new/folder/file"),
        },
        {"kind": "fifo", "path": str(tmp_path / "pipe")},
        {"kind": "socket", "path": str(tmp_path / "socket")},
    ]
    with Planted(items):
        assert (tmp_path / "hard").read_text() == "bait"
        assert (tmp_path / "link").is_symlink()
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
        assert (tmp_path / "socket").is_socket()
        (tmp_path / "new/folder/more").touch()
    assert differences(before, snapshot(tmp_path)) == []


def test_what_can_not_be_planted_is_no_case(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    items = [{"kind": "file", "path": str(tmp_path / "file/below"), "content": "x"}]
    with pytest.raises(NotHadError, match="can't plant"), Planted(items):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="names are exchanged in one step there only")
def test_names_change_places_and_go(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    items = [{"kind": "swap", "path": str(tmp_path / "name"), "target": str(target)}]
    seen: set[bool] = set()
    waiting = threading.Event()
    with Planted(items):
        for _ in range(20_000):
            seen.add((tmp_path / "name").is_symlink())
            if len(seen) == 2:
                break
            waiting.wait(0.0001)
    assert seen == {True, False}
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are exchanged in one step there only")
def test_what_moves_meanwhile_is_looked_at_all_the_same(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    items = [{"kind": "swap", "path": str(tmp_path / "name"), "target": str(target)}]
    with Planted(items):
        assert all(len(snapshot(tmp_path)) >= 3 for _ in range(500))
