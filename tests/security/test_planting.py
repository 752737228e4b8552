"""scripts/security/planting.py: what a case needs on disk is there, and goes again."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from security.places import NotHadError, differences, snapshot
from security.planting import Planted

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX modes")


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


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
def test_what_is_planted_belongs_to_whoever_owns_the_place(tmp_path: Path) -> None:
    """A service could not write into what is root's: the bait would hold the attack."""
    os.chown(tmp_path, 12345, 12346)
    target = tmp_path / "new/folder"
    items = [
        {"kind": "folder", "path": str(target)},
        {"kind": "file", "path": str(target / "file")},
        {"kind": "symlink", "path": str(tmp_path / "link"), "target": "/etc"},
        {"kind": "swap", "path": str(tmp_path / "swap"), "target": str(target)},
        {"kind": "hard_link", "path": str(tmp_path / "hard"), "target": __file__},
    ]
    before = (Path(__file__).stat().st_uid, Path("/etc").stat().st_uid)
    with Planted(items):
        names = ("new", "new/folder", "new/folder/file", "link", "swap", "swap-other")
        owners = {(tmp_path / name).lstat().st_uid for name in names}
        groups = {(tmp_path / name).lstat().st_gid for name in names}
        assert (owners, groups) == ({12345}, {12346})
        assert (Path(__file__).stat().st_uid, Path("/etc").stat().st_uid) == before


@posix
def test_a_file_is_changed_under_its_mode_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "policies/0123/tools.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("program: echo\n")
    path.chmod(0o444)
    before = snapshot(tmp_path)
    pattern = str(tmp_path / "policies/*/tools.yaml")
    change = {"kind": "change", "path": pattern, "find": "echo", "content": "sleep"}
    with Planted([change]):
        assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("program: sleep\n", 0o444)
    assert snapshot(tmp_path) == before
    with Planted([{"kind": "change", "path": pattern, "content": "new"}]):
        assert path.read_text() == "new"
    assert snapshot(tmp_path) == before
    with Planted([{"kind": "mode", "path": pattern, "mode": "666"}]):
        assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("program: echo\n", 0o666)
    assert snapshot(tmp_path) == before


@posix
def test_what_can_not_be_changed_is_no_case_and_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/file").write_text("a")
    before = snapshot(tmp_path)
    items = [
        {"kind": "change", "path": str(tmp_path / "*/file"), "find": "b", "content": "c"},
        {"kind": "change", "path": str(tmp_path / "*/none"), "content": "c"},
        {"kind": "file", "path": str(tmp_path / "*/*/new"), "content": "c"},
    ]
    first = {"kind": "change", "path": str(tmp_path / "one/file"), "content": "changed"}
    for item in items:
        with pytest.raises(NotHadError), Planted([first, item]):
            pass
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize("problem", ["no text", "interrupted"])
def test_whatever_ends_the_planting_a_changed_file_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """A policy that was changed for an attack must not stay in force."""
    (tmp_path / "policy").write_text("good")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    items = [
        {"kind": "change", "path": str(tmp_path / "policy"), "content": "bad"},
        {"kind": "change", "path": str(tmp_path / "bytes"), "content": "bad"},
    ]
    if problem == "interrupted":

        def interrupt(*_: object, **__: object) -> str:
            raise KeyboardInterrupt

        items[1] |= {"kind": "symlink", "target": "x"}
        monkeypatch.setattr(Path, "symlink_to", interrupt)
    expected = {"no text": UnicodeDecodeError, "interrupted": KeyboardInterrupt}[problem]
    with pytest.raises(expected), Planted(items):
        pass
    assert (tmp_path / "policy").read_text() == "good"


def test_a_bait_goes_even_where_a_file_can_not_be_put_back(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text("good")
    items = [
        {"kind": "file", "path": str(tmp_path / "bait"), "content": "bait"},
        {"kind": "change", "path": str(tmp_path / "policy"), "content": "bad"},
    ]
    with pytest.raises(FileNotFoundError), Planted(items):
        (tmp_path / "policy").unlink()
    assert not (tmp_path / "bait").exists()


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/kept").touch()
    with Planted([{"kind": "folder", "path": str(tmp_path / "folder")}]):
        pass
    assert (tmp_path / "folder/kept").exists()
