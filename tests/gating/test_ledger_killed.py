"""gating.ledger: killed at any call, any byte and any moment, it loses and forges nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ledgers
import pytest
from bundles import KeyPair, make_key
from ledgers import CONTRACT

from gating import durable
from gating.ledger import Ledger, LedgerError, read, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WRITERS = 100


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return make_key(tmp_path_factory.mktemp("key"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "ledger.jsonl"


@pytest.fixture
def ledger(path: Path, pair: KeyPair) -> Ledger:
    return Ledger(path, pair.signer)


def add(ledger: Ledger, number: int = 1) -> str:
    return ledger.append("contract", stack="mine", version=number, sha256=CONTRACT).sha256


def versions(path: Path, pair: KeyPair) -> list[int]:
    return [entry.fields["version"] for entry in verify(path, pair.signer.public)]


PROGRAM = """\
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from evidence.keys import load_signer
from gating.ledger import Ledger
ledger = Ledger(Path(sys.argv[3]), load_signer(sys.argv[4]))
for number in range(1, 11):
    ledger.append("contract", stack=sys.argv[5], version=number, sha256="b" * 64)
"""


def test_four_processes_append_and_none_loses_an_entry(path: Path, pair: KeyPair) -> None:
    tests = Path(ledgers.__file__).parent
    folders = [str(tests.parent / "scripts"), str(tests)]
    key = str(pair.public.with_suffix(".pem"))
    running = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, *folders, str(path), key, name])
        for name in "abcd"
    ]
    while any(process.poll() is None for process in running):
        verify(path, pair.signer.public)  # a reader never meets half an entry
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    entries = verify(path, pair.signer.public)
    assert len(entries) == 40
    for name in "abcd":
        mine = [entry.fields["version"] for entry in entries if entry.fields["stack"] == name]
        assert mine == [*range(1, 11)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_writers_killed_at_random_moments_lose_and_forge_nothing(path: Path, pair: KeyPair) -> None:
    key = pair.public.with_suffix(".pem")
    done = subprocess.run(
        [sys.executable, ledgers.__file__, str(path.parent), str(key), str(WRITERS)],
        capture_output=True,
        text=True,
        check=True,
    )
    acknowledged = {int(seq): sha256 for seq, sha256 in json.loads(done.stdout)}
    entries = verify(path, pair.signer.public)
    found = {entry.seq: entry.sha256 for entry in entries}
    assert len(acknowledged) >= WRITERS // 2
    assert acknowledged.items() <= found.items()
    # Signed, but killed before it was acknowledged: at most one for each writer.
    assert len(found) - len(acknowledged) <= WRITERS + 1  # and the parent's
    written: dict[str, list[int]] = {}
    for entry in entries:
        written.setdefault(entry.fields["stack"], []).append(entry.fields["version"])
    assert all(numbers == [*range(1, len(numbers) + 1)] for numbers in written.values())
    add(Ledger(path, pair.signer))
    assert read(path, pair.signer.public).finished


class Killed(BaseException):
    """The process ends here."""


class Disk:
    """Stands for `os` in gating.durable: notes each call that changes the disk.

    Args:
        kill_at: the process is killed at this call, counted from 1.
        torn: how much of the data a killed write has still written, from 0 to 1.
    """

    def __init__(self, kill_at: int = 0, torn: float = 0) -> None:
        self.calls: list[str] = []
        self._kill_at, self._torn = kill_at, torn
        self._names: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        """Whatever else `os` has."""
        return getattr(os, name)

    def open(self, path: Path, *arguments: Any) -> int:
        handle = os.open(path, *arguments)
        self._names[handle] = Path(path).name
        return handle

    def _call(self, name: str, last: Callable[[], object] = lambda: None) -> None:
        self.calls.append(name)
        if len(self.calls) == self._kill_at:
            last()
            raise Killed

    def write(self, handle: int, data: bytes) -> int:
        part = data[: round(len(data) * self._torn)]
        self._call(f"write {self._names[handle]}", lambda: os.write(handle, part))
        return os.write(handle, data)

    def fsync(self, handle: int) -> None:
        self._call(f"sync {self._names[handle]}")

    def replace(self, source: Path, target: Path) -> None:
        self._call(f"rename to {Path(target).name}")
        os.replace(source, target)  # noqa: PTH105 - it stands for it

    def unlink(self, path: Path) -> None:
        self._call(f"remove {Path(path).name}")
        os.unlink(path)  # noqa: PTH108 - it stands for it


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Disk], Disk]]:
    def use(disk: Disk) -> Disk:
        monkeypatch.setattr(durable, "os", disk)
        monkeypatch.setattr(durable, "_sync_data", disk.fsync)
        return disk

    yield use
    monkeypatch.undo()


def test_nothing_is_overtaken_on_the_way_to_the_disk(
    ledger: Ledger, on_disk: Callable[[Disk], Disk]
) -> None:
    """After a loss of power the later is never there without the earlier."""
    add(ledger)
    disk = on_disk(Disk())
    add(ledger)
    assert disk.calls == [
        "write .ledger.pending.json.partial",
        "sync .ledger.pending.json.partial",
        "rename to ledger.pending.json",
        "sync runs",
        "write ledger.jsonl",
        "sync ledger.jsonl",
        "write .ledger.head.json.partial",
        "sync .ledger.head.json.partial",
        "rename to ledger.head.json",
        "sync runs",
        "remove ledger.pending.json",
    ]


@pytest.mark.parametrize("torn", [0, 0.01, 0.5, 1])
@pytest.mark.parametrize("before", [0, 2])
def test_killed_at_any_call_the_ledger_stays_readable(
    before: int, torn: float, path: Path, pair: KeyPair, on_disk: Callable[[Disk], Disk]
) -> None:
    had: list[int] = []
    for kill_at in range(1, 100):
        on_disk(Disk())
        target = path.parent / str(kill_at) / path.name
        ledger = Ledger(target, pair.signer)
        for number in range(before):
            add(ledger, number + 1)
        disk = on_disk(Disk(kill_at, torn))
        try:
            add(ledger, 98)
        except Killed:
            on_disk(Disk())
        else:
            break
        seen = versions(target, pair)
        had.append(len(seen) - before)
        assert seen in ([*range(1, before + 1)], [*range(1, before + 1), 98])
        add(Ledger(target, pair.signer), 99)
        assert versions(target, pair) == [*seen, 99]
        assert read(target, pair.signer.public).finished
    # Once it is signed and on the disk it never goes away again: 0 0 0 1 1 1 1 …
    assert had == sorted(had)
    assert {0, 1} == {*had}
    assert len(had) == len(disk.calls)


def test_a_recovery_may_be_killed_as_well(
    path: Path, pair: KeyPair, on_disk: Callable[[Disk], Disk]
) -> None:
    ledger = Ledger(path, pair.signer)
    add(ledger, 1)
    on_disk(Disk(kill_at=5, torn=0.5))
    with pytest.raises(Killed):
        add(ledger, 2)
    for kill_at in range(1, 8):
        on_disk(Disk(kill_at, torn=0.5))
        with pytest.raises(Killed):
            add(ledger, 3)
        assert versions(path, pair)[:2] == [1, 2]
    on_disk(Disk())
    add(ledger, 4)
    assert versions(path, pair)[:2] == [1, 2]
    assert versions(path, pair)[-1] == 4


def test_a_full_disk_is_one_line_and_loses_nothing(
    path: Path, pair: KeyPair, on_disk: Callable[[Disk], Disk]
) -> None:
    class Full(Disk):
        def write(self, handle: int, data: bytes) -> int:
            if "ledger.jsonl" in self._names[handle]:
                os.write(handle, data[:9])
                raise OSError(28, "No space left on device")
            return super().write(handle, data)

    ledger = Ledger(path, pair.signer)
    add(ledger, 1)
    on_disk(Full())
    with pytest.raises(LedgerError, match=r"can't write the ledger .*: no space left"):
        add(ledger, 2)
    on_disk(Disk())
    add(ledger, 3)
    assert versions(path, pair) == [1, 2, 3]
