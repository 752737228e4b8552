"""Snapshots of SQLite and of folders: one moment, or none (G4)."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from backup_cases import Shop, Writers, count_orders, make_database, make_uploads

from backup import directory, sqlite
from backup.archive import Archive
from backup.errors import DamagedError, RefusedError
from backup.kinds import ADAPTERS
from backup.restore import restore_into
from common.cli import ScriptError
from stack.model import Store

if TYPE_CHECKING:
    from backup.snapshot import Snapshot

pytestmark = pytest.mark.skipif(os.name == "nt", reason="backups need POSIX")


def taken(path: Path, folder: Path, kind: str = "sqlite") -> Snapshot:
    """A snapshot into a new folder."""
    folder.mkdir()
    return ADAPTERS[kind].snapshot(Store("it", kind, str(path)), folder)


def test_a_backup_under_a_writer_is_one_moment_and_has_what_was_acknowledged(
    tmp_path: Path,
) -> None:
    """Sequence, checksums and a total in another page agree; nothing acknowledged is missing."""
    shop = Shop(tmp_path)
    with Writers(shop.orders) as writers:
        for number in range(5):
            before = writers.acknowledged
            made = shop.back_up()
            with Archive.open(made.path) as archive:
                restore_into(archive, tmp_path / f"into{number}", archive.manifest.stores[:1])
            assert count_orders(tmp_path / f"into{number}/orders/orders.db") >= before
    assert writers.acknowledged > 50


def test_a_snapshot_neither_checkpoints_nor_changes_the_store(tmp_path: Path) -> None:
    path = make_database(tmp_path / "x.db")
    database = sqlite3.connect(path)
    database.execute("PRAGMA wal_autocheckpoint=0")
    database.execute("UPDATE total SET rows = 49")
    database.commit()
    before = (path.read_bytes(), Path(f"{path}-wal").read_bytes())
    taken(path, tmp_path / "copy")
    assert (path.read_bytes(), Path(f"{path}-wal").read_bytes()) == before
    assert before[1]
    database.close()


def test_what_stands_only_in_the_log_is_in_the_snapshot(tmp_path: Path) -> None:
    path = make_database(tmp_path / "x.db")
    database = sqlite3.connect(path)
    database.execute("PRAGMA wal_autocheckpoint=0")
    database.execute("INSERT INTO orders VALUES (51, 'x', 'y')")
    database.commit()
    taken(path, tmp_path / "copy")
    copy = sqlite3.connect(tmp_path / "copy" / "x.db")
    assert copy.execute("SELECT max(number) FROM orders").fetchone() == (51,)
    copy.close()
    database.close()


def test_the_facts_are_those_of_the_database(tmp_path: Path) -> None:
    snapshot = taken(make_database(tmp_path / "x.db", user_version=7), tmp_path / "copy")
    facts = {**snapshot.facts, **snapshot.check()}
    assert facts["user_version"] == 7
    assert facts["library_version"] == facts["writer_version"] == sqlite3.sqlite_version
    assert (facts["integrity_check"], facts["foreign_key_violations"]) == ("ok", 0)
    other = make_database(tmp_path / "y.db")
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE more (x)")
    database.commit()
    database.close()
    assert taken(other, tmp_path / "copy2").facts["schema_sha256"] != facts["schema_sha256"]


def test_a_damaged_database_makes_no_backup(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    data = bytearray(shop.orders.read_bytes())
    data[4096 * 3 : 4096 * 3 + 64] = b"\xff" * 64
    shop.orders.write_bytes(data)
    with pytest.raises(ScriptError, match="store orders"):
        shop.back_up()
    assert list(shop.backups.iterdir()) == []


def test_rows_that_refer_to_nothing_are_counted(tmp_path: Path) -> None:
    path = make_database(tmp_path / "x.db")
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE child (x REFERENCES orders(number))")
    database.execute("INSERT INTO child VALUES (999), (998), (1)")
    database.commit()
    database.close()
    assert taken(path, tmp_path / "copy").check()["foreign_key_violations"] == 2


@pytest.mark.parametrize("what", ["missing", "a link", "a folder", "text"])
def test_what_is_no_database_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    if what == "a link":
        path.symlink_to(make_database(tmp_path / "other.db"))
    elif what == "a folder":
        path.mkdir()
    elif what == "text":
        path.write_text("no database\n" * 100)
    with pytest.raises(ScriptError, match="the store it") as problem:
        taken(path, tmp_path / "copy")
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("version", "inside"),
    [
        *(("3.6.23", False), ("3.7.0", True), ("3.40.1", True), ("3.44.5", True)),
        *(("3.44.6", False), ("3.45.0", True), ("3.50.6", True), ("3.50.7", False)),
        *(("3.51.0", True), ("3.51.2", True), ("3.51.3", False), ("3.52.0", False)),
    ],
)
def test_the_versions_with_the_wal_reset_bug_are_known(version: str, *, inside: bool) -> None:
    assert sqlite.in_wal_reset_range(version) is inside


def test_a_restored_database_with_another_schema_is_damaged(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    made = shop.back_up()
    store = made.manifest.store("orders")
    with Archive.open(made.path) as archive:
        restore_into(archive, tmp_path / "into", [store])
    sqlite.check(store, tmp_path / "into")
    database = sqlite3.connect(tmp_path / "into/orders/orders.db")
    database.execute("PRAGMA journal_mode=DELETE")
    database.execute("PRAGMA user_version=4")
    database.close()
    with pytest.raises(DamagedError, match="expected user_version 3, got 4"):
        sqlite.check(store, tmp_path / "into")


def test_a_folder_with_links_and_such_is_refused_with_all_of_them(tmp_path: Path) -> None:
    folder = make_uploads(tmp_path / "uploads")
    (folder / "a" / "link").symlink_to("/etc/passwd")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    with pytest.raises(RefusedError) as problem:
        taken(folder, tmp_path / "copy", "directory")
    for words in ("it/a/link' (a symbolic link)", "it/dangling'", "it/fifo' (a FIFO)"):
        assert words in str(problem.value)


@pytest.mark.parametrize("names", [["Same", "same"], ["x\ny"], ["back\\slash"]])
def test_names_that_could_not_be_restored_are_refused(names: list[str], tmp_path: Path) -> None:
    folder = make_uploads(tmp_path / "uploads")
    for name in names:
        (folder / name).write_text("x")
    if len({path.name for path in folder.iterdir()} & {*names}) < len(names):
        pytest.skip("this disk does not tell case apart")
    with pytest.raises(RefusedError):
        taken(folder, tmp_path / "copy", "directory")


def test_a_name_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    folder = make_uploads(tmp_path / "uploads")
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_text("x")
    except OSError:
        pytest.skip("this disk takes only UTF-8")
    with pytest.raises(RefusedError, match="UTF-8"):
        taken(folder, tmp_path / "copy", "directory")


@pytest.mark.parametrize("change", ["grow", "rewrite", "new", "gone", "mode"])
def test_a_folder_that_changes_once_is_copied_again_and_that_never_rests_is_refused(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_uploads(tmp_path / "uploads")
    real, left = directory._copy_file, [1]

    def changing(path: Path, target: Path, before: os.stat_result) -> None:
        real(path, target, before)
        if path.name != "run.sh" or not left[0]:
            return
        left[0] -= 1
        one = folder / "a" / "b" / "one.txt"
        if change == "grow":
            one.write_text("one and more\n" * (left[0] + 2))
        elif change == "rewrite":
            one.write_text("two\n")
        elif change == "new":
            (folder / "a" / f"new{left[0]}").write_text("x")
        elif change == "gone":
            next((folder / "a").glob("gone*")).unlink()
        else:
            one.chmod(0o600 + left[0] % 7)

    for number in range(directory.TRIES + 1):
        (folder / "a" / f"gone{number}").write_text("x")
    monkeypatch.setattr(directory, "_copy_file", changing)
    entries = taken(folder, tmp_path / "copy", "directory").entries
    text = (tmp_path / "copy/a/b/one.txt").read_text()
    assert text == (folder / "a/b/one.txt").read_text()
    assert any(entry.path == "it/a/b/one.txt" and entry.length == len(text) for entry in entries)
    left[0] = directory.TRIES
    with pytest.raises(ScriptError, match="changed while it was copied, 3 times"):
        taken(folder, tmp_path / "copy2", "directory")


def test_a_folder_with_a_busy_writer_is_one_moment_or_refused(tmp_path: Path) -> None:
    """Two files are always written one after the other with the same number."""
    folder, stop = tmp_path / "pair", threading.Event()
    folder.mkdir()

    def write() -> None:
        number = 0
        while not stop.wait(0.03):
            number += 1
            for name in ("a", "b"):
                (folder / f".{name}").write_text(f"{number}")
                (folder / f".{name}").rename(folder / name)

    (folder / "a").write_text("0")
    (folder / "b").write_text("0")
    writer = threading.Thread(target=write)
    writer.start()
    done = 0
    for number in range(20):
        try:
            taken(folder, tmp_path / f"copy{number}", "directory")
        except ScriptError:
            continue
        copies = [int((tmp_path / f"copy{number}" / name).read_text()) for name in "ab"]
        done += 1
        assert copies[0] - copies[1] in {0, 1}
    stop.set()
    writer.join()
    assert done
