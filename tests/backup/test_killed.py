"""kill -9, full disks and company: what is listed restores, and nothing is left (G4)."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from backup_cases import Shop, count_orders, make_database

from backup.archive import Archive
from backup.destination import LocalFolder, Name
from backup.listing import GOOD, listed
from backup.restore import restore_in_place, verify_archive, verify_restored
from backup.switch import unfinished
from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.name == "nt", reason="backups need POSIX")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/backup_restore.py"
KILLS = 12


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A system whose backup takes a moment."""
    made = Shop(tmp_path)
    for number in range(20):
        (made.uploads / f"bulk{number}").write_bytes(os.urandom(200_000))
    return made


def killed(words: list[str], marker: Path, after: float) -> bool:
    """Run the script and kill it some time after `marker` holds something hidden.

    Returns:
        Whether it was killed before its end.
    """
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    while process.poll() is None and not _hidden(marker):
        time.sleep(0.001)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    return process.wait() != 0


def _hidden(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return [path.name for path in folder.iterdir() if path.name.startswith(".")]
    return []


@pytest.mark.slow
def test_a_killed_backup_is_never_listed_and_its_draft_goes_with_the_next(shop: Shop) -> None:
    moments = random.Random(6)  # noqa: S311 - moments, not secrets
    destination, seen = LocalFolder(shop.backups), 0
    words = shop.options("backup", "--destination", str(shop.backups))
    for _ in range(KILLS):
        seen += killed(words, shop.backups, moments.uniform(0, 0.12))
        for row in listed(destination):
            assert row.state == GOOD
            with Archive.open(row.path) as archive:
                verify_archive(archive)
                verify_restored(archive)
    assert seen
    made = shop.back_up()
    assert _hidden(shop.backups) == []
    assert made.path in [row.path for row in listed(destination)]


@pytest.mark.slow
def test_a_killed_restore_leaves_the_old_the_new_or_a_note_and_can_be_run_again(
    shop: Shop,
) -> None:
    moments, seen = random.Random(7), 0  # noqa: S311 - moments, not secrets
    path = shop.back_up().path
    words = shop.options("restore", str(path), "--replace")
    for _ in range(KILLS):
        shutil.rmtree(shop.state)
        make_database(shop.orders, rows=7)
        shop.uploads.mkdir()
        seen += killed(words, shop.state, moments.uniform(0, 0.2))
        if not unfinished([shop.orders, shop.uploads]):
            restored = (shop.uploads / "bulk0").exists()
            assert count_orders(shop.orders) == (50 if restored else 7)
        with Archive.open(path) as archive:
            verify_archive(archive)
            restore_in_place(archive, shop.stores, replace=True)
        assert count_orders(shop.orders) == 50
        assert len([*shop.uploads.glob("bulk*")]) == 20
        assert _hidden(shop.state) == []
    assert seen


def test_what_a_dead_owner_left_is_removed_and_a_live_one_s_is_not(shop: Shop) -> None:
    with LocalFolder(shop.backups).making(datetime.now(UTC)) as (_, mine):
        dead = shop.backups / ".20260101-000000.partial"
        dead.mkdir()
        (dead / "owner.json").write_text('{"pid": 1, "created_ms": 1, "host": "nowhere"}')
        lost = shop.backups / ".20260101-000001.partial"
        lost.mkdir()
        shop.back_up()
        assert mine.is_dir()
        assert not lost.exists()
        assert dead.exists()  # of a host whose processes can't be seen from here
    assert not mine.exists()


def test_two_backups_at_once_are_two_good_ones(shop: Shop) -> None:
    problems: list[BaseException] = []

    def run() -> None:
        try:
            shop.back_up()
        except BaseException as problem:
            problems.append(problem)
            raise

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    rows = listed(LocalFolder(shop.backups))
    assert [row.state for row in rows] == [GOOD] * 4
    assert len({row.name.backup_id for row in rows}) == 4
    assert _hidden(shop.backups) == []


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 1 MiB at `folder`; skipped where this user may not mount one."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=1m", "proof-pack-test", str(folder)]
    if not shutil.which("mount") or subprocess.run(options, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_nothing_is_left(shop: Shop) -> None:
    with small_disk(shop.backups):
        with pytest.raises(ScriptError, match=r"no space|is full") as problem:
            shop.back_up()
        assert "\n" not in str(problem.value)
        assert list(shop.backups.iterdir()) == []


def test_a_full_disk_leaves_the_old_stores_in_place(shop: Shop) -> None:
    path = shop.back_up().path
    with small_disk(shop.root / "small"):
        small = Shop.__new__(Shop)
        small.root, small.state = shop.root, shop.root / "small"
        small.orders = make_database(small.state / "orders.db", rows=7)
        small.uploads = small.state / "uploads"
        with Archive.open(path) as archive, pytest.raises(ScriptError, match="of space"):
            restore_in_place(archive, small.stores, replace=True)
        assert [item.name for item in small.state.iterdir()] == ["orders.db"]
        assert count_orders(small.orders) == 7


def test_a_file_that_may_not_grow_is_one_line_and_nothing_is_left(shop: Shop) -> None:
    """As on a full disk, on every system: the limit of a process for its files."""
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    shop.backups.mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limit[1]))
    try:
        with pytest.raises(ScriptError, match="can't write"):
            shop.back_up()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(shop.backups.iterdir()) == []


@pytest.mark.parametrize("moment", ["copied", "packed"])
def test_a_destination_that_disappears_is_one_line(
    moment: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backup import make

    name = "_take" if moment == "copied" else "_pack"
    real = getattr(make, name)

    def vanishing(*values: object) -> object:
        done = real(*values)
        shutil.rmtree(shop.backups)
        return done

    monkeypatch.setattr(make, name, vanishing)
    with pytest.raises(ScriptError, match="no such file") as problem:
        shop.back_up()
    assert "\n" not in str(problem.value)
    assert not shop.backups.exists()


def test_a_file_of_the_same_name_is_not_written_over(shop: Shop, tmp_path: Path) -> None:
    destination, name = LocalFolder(shop.backups), Name("shop", "20260101-000000")
    shop.backups.mkdir()
    destination.fetch(name).write_text("somebody's")
    (tmp_path / "draft").write_text("mine")
    with pytest.raises(FileExistsError):
        destination.publish(tmp_path / "draft", name)
    assert destination.fetch(name).read_text() == "somebody's"
