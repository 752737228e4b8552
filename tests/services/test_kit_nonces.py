"""The replay store: nothing is accepted twice, nor at all where that can't be known (G3a)."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from services.kit import nonces
from services.kit.nonces import NonceStore, NonceStoreError
from services.kit.settings import LEEWAY_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

BOOT = "01234567-89ab-cdef-0123-456789abcdef"
LATER = 2e9
WORKERS, EACH = 4, 200
# One worker: prints which of the nonces it was the first to spend.
SPEND_ALL = """
import json, pathlib, sys
from services.kit.nonces import NonceStore
folder, boot, *names = sys.argv[1:]
store = NonceStore(pathlib.Path(folder), "sessions", boot=boot)
new = [name for name in names if store.spend(bytes.fromhex(name), 2e9, 30) == "new"]
print(json.dumps(new))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "nonces"


def test_of_several_processes_exactly_one_spends_each_nonce(folder: Path) -> None:
    names = [secrets.token_hex(16) for _ in range(EACH)]
    command = [sys.executable, "-c", SPEND_ALL, str(folder), BOOT, *names]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(WORKERS)
    ]
    won = [json.loads(worker.communicate(timeout=300)[0]) for worker in workers]
    assert sorted(name for part in won for name in part) == sorted(names)


def test_stores_of_two_services_and_of_two_boots_are_apart(folder: Path) -> None:
    names = {("sessions", BOOT), ("executor", BOOT), ("sessions", BOOT.replace("0", "f"))}
    stores = [NonceStore(folder, service, boot=boot) for service, boot in names]
    assert [store.spend(b"n" * 16, LATER, 30) for store in stores] == ["new"] * 3
    assert [store.spend(b"n" * 16, LATER, 30) for store in stores] == ["spent"] * 3


def test_the_files_of_old_boots_are_removed_and_those_of_others_are_not(folder: Path) -> None:
    NonceStore(folder, "executor", boot=BOOT).close()
    for number, age_seconds in enumerate((0, nonces.OLDER_SECONDS + 60)):
        NonceStore(folder, "sessions", boot=BOOT.replace("0", str(number + 1))).close()
        old = folder / f"sessions-{BOOT.replace('0', str(number + 1))}.db"
        os.utime(old, (time.time() - age_seconds,) * 2)
    os.utime(folder / f"executor-{BOOT}.db", (0, 0))
    NonceStore(folder, "sessions", boot=BOOT).close()
    kept = {path.name for path in folder.glob("*.db")}
    assert kept == {
        f"sessions-{BOOT}.db",
        f"sessions-{BOOT.replace('0', '1')}.db",
        f"executor-{BOOT}.db",
    }


@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
def test_the_store_is_for_its_owner_only(folder: Path) -> None:
    NonceStore(folder, "sessions", boot=BOOT)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o177 for path in folder.iterdir()} == {0o000}


def spend_many(store: NonceStore, now: float) -> None:
    for _ in range(50):
        store.spend(secrets.token_bytes(16), now, 30)


def test_nonces_are_pruned_and_the_count_stays_bounded(folder: Path) -> None:
    now = [1e9]
    store = NonceStore(
        folder, "sessions", limit=50, boot=BOOT, clock=lambda: now[0], ticks=lambda: now[0]
    )
    for _ in range(500):
        now[0] += 1
        assert store.spend(secrets.token_bytes(16), now[0], 30) == "new"
        assert store._count <= 50
    for _ in range(19):
        store.spend(secrets.token_bytes(16), now[0], 30)
    with pytest.raises(NonceStoreError, match="full"):
        spend_many(store, now[0])


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_said_at_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(NonceStoreError, match="can't use"):
        NonceStore(tmp_path / "nonces", "sessions", boot=BOOT)


@pytest.mark.parametrize("damage", ["locked", "dropped", "a file in place of the folder"])
def test_whatever_is_wrong_with_the_store_nothing_is_accepted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    import sqlite3

    monkeypatch.setattr(nonces, "BUSY_SECONDS", 0.05)
    store = NonceStore(folder, "sessions", boot=BOOT)
    other = sqlite3.connect(folder / f"sessions-{BOOT}.db", isolation_level=None)
    if damage == "locked":
        other.execute("BEGIN EXCLUSIVE")
    elif damage == "dropped":
        other.execute("DROP TABLE nonces")
    else:
        folder.rename(folder.with_name("moved"))
        folder.touch()
    with pytest.raises(NonceStoreError):
        store.spend(b"n" * 16, LATER, 30)
    if damage != "dropped":
        with pytest.raises(NonceStoreError):
            store.check()
    if damage == "locked":
        other.execute("ROLLBACK")
        assert store.spend(b"n" * 16, LATER, 30) == "new"
    other.close()


def test_the_log_of_a_file_that_was_removed_brings_nothing_back(folder: Path) -> None:
    """Or what the log doesn't hold would be forgotten, and the beginning would not."""
    store = NonceStore(folder, "sessions", leeway_seconds=0.0, boot=BOOT)
    signed = time.time()
    assert store.spend(b"n" * 16, signed, 30) == "new"
    log = folder / f"sessions-{BOOT}.db-wal"
    assert log.stat().st_size
    (folder / f"sessions-{BOOT}.db").unlink()
    time.sleep(0.01)
    restarted = NonceStore(folder, "sessions", leeway_seconds=0.0, boot=BOOT)
    for again in (store, restarted):
        assert again.spend(b"n" * 16, signed, 30) == "too old"
        time.sleep(0.01)
        assert again.spend(os.urandom(16), time.time(), 30) == "new"


def test_without_a_boot_id_each_start_begins_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Refused is what was signed before the start, used or not."""
    monkeypatch.setattr(nonces, "_BOOT_ID", tmp_path / "none")
    NonceStore(folder, "executor")  # of another service: no matter
    now = [1e9]

    def started() -> NonceStore:
        return NonceStore(folder, "sessions", clock=lambda: now[0], ticks=lambda: 7e6)

    first = started()
    ahead = now[0] + LEEWAY_SECONDS
    assert first.spend(b"n" * 16, ahead, 30) == "new"
    assert first.spend(b"m" * 16, now[0], 30) == "new"
    again = started()
    now[0] += LEEWAY_SECONDS + 1
    assert again.spend(b"n" * 16, ahead, 30) == "too old"
    assert again.spend(b"o" * 16, now[0], 30) == "new"


@pytest.mark.parametrize("killed", ["before the mark", "before the store"])
def test_a_mark_that_a_kill_has_left_away_is_made_at_the_next_start(
    folder: Path, killed: str
) -> None:
    NonceStore(folder, "sessions", boot=BOOT).close()
    if killed == "before the mark":
        (folder / f"sessions-{BOOT}.begun").unlink()
    else:
        for path in folder.iterdir():
            path.unlink()
    store = NonceStore(folder, "sessions", boot=BOOT)
    assert store.spend(b"n" * 16, time.time(), 30) == "new"
    store.close()
    (folder / f"sessions-{BOOT}.db").unlink()
    store = NonceStore(folder, "sessions", boot=BOOT)
    assert store.spend(b"o" * 16, time.time() + LEEWAY_SECONDS / 2, 30) == "too old"
