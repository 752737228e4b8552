"""scripts/security/places.py: what is there, what has changed, and what is planted goes again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.cli import ScriptError
from security import places
from security.places import NotHadError, differences, snapshot


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


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_looked_at_is_no_place_without_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Root may look everywhere: the refusal is made here."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/file").touch()

    def refuse(path: Path) -> None:
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(Path, {"file": "read_bytes", "folder": "iterdir"}[kind], refuse)
    with pytest.raises(NotHadError, match="can't be looked at: permission denied"):
        snapshot(tmp_path)
