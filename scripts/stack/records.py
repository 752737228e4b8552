"""Records of running stacks, so that the next command ends what a killed one left.

A record is written before the first process starts and removed after the last has
ended. A record whose harness is dead names everything there is to clean up.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from common.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER = "PROOF_PACK_RUN"
_END_SECONDS = 5.0


@dataclass
class Record:
    """One started stack: who started it, what runs, where its state is."""

    marker: str
    stack_file: str
    harness_pid: int
    harness_created: float
    state: str
    processes: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the record is kept."""
        return _folder() / f"{self.marker}.json"

    def save(self) -> None:
        """Write the record so that a reader sees the old one or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self)), "utf-8")
        partial.replace(self.path)

    def remove(self) -> None:
        """Forget the stack: it has ended."""
        self.path.unlink(missing_ok=True)


def new_record(stack_file: Path) -> Record:
    """A record of this process, with an empty private state folder (mode 0700)."""
    marker = f"{os.getpid()}-{secrets.token_hex(6)}"
    state = cache_folder() / "state" / marker
    record = Record(
        marker,
        str(stack_file),
        os.getpid(),
        psutil.Process().create_time(),
        str(state),
    )
    record.save()
    state.mkdir(parents=True, mode=0o700)
    return record


def live_records(stack_file: Path) -> list[Record]:
    """Records of this stack whose harness or services still run."""
    return [
        record
        for record in _records()
        if record.stack_file == str(stack_file) and (_alive(record) or _services(record))
    ]


def sweep() -> list[str]:
    """End everything that a killed command left, and say what that was.

    Returns:
        One line for each process ended or folder removed; empty where all was clean.
    """
    ended: list[str] = []
    for record in _records():
        if _alive(record):
            continue
        ended += end_processes(_left_of(record))
        if Path(record.state).exists():
            shutil.rmtree(record.state, ignore_errors=True)
            ended.append(f"removed the state folder of run {record.marker}")
        record.remove()
    return ended + _sweep_nameless()


def end_processes(processes: list[psutil.Process]) -> list[str]:
    """Kill processes and wait for them; returns a line for each."""
    lines = []
    for process in processes:
        try:
            lines.append(f"ended pid {process.pid} ({process.name()})")
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(processes, timeout=_END_SECONDS)
    return lines


def marked_processes(marker: str) -> list[psutil.Process]:
    """Every process of this user whose environment carries the marker."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARKER) == marker:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def same_process(pid: int, created: float) -> psutil.Process | None:
    """The process with this pid, unless the number now belongs to another one."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except psutil.Error:
        pass
    return None


def _folder() -> Path:
    return cache_folder() / "runs"


def _records() -> Iterator[Record]:
    for path in sorted(_folder().glob("*.json")):
        try:
            value: dict[str, Any] = json.loads(path.read_text("utf-8"))
            yield Record(**value)
        except (OSError, ValueError, TypeError):
            path.unlink(missing_ok=True)


def _alive(record: Record) -> bool:
    return same_process(record.harness_pid, record.harness_created) is not None


def _services(record: Record) -> list[psutil.Process]:
    found = (same_process(pid, created) for pid, created in record.processes.values())
    return [process for process in found if process is not None]


def _left_of(record: Record) -> list[psutil.Process]:
    known = {process.pid: process for process in _services(record)}
    for process in [*known.values()]:
        for child in process.children(recursive=True):
            known[child.pid] = child
    for process in marked_processes(record.marker):
        known[process.pid] = process
    return list(known.values())


def _sweep_nameless() -> list[str]:
    """Remove state folders that no record names (killed between two lines)."""
    known = {record.state for record in _records()}
    lines = []
    for folder in (cache_folder() / "state").glob("*"):
        owner = folder.name.split("-")[0]
        if str(folder) not in known and not (owner.isdigit() and psutil.pid_exists(int(owner))):
            shutil.rmtree(folder, ignore_errors=True)
            lines.append(f"removed the state folder {folder.name}")
    for partial in _folder().glob("*.partial"):
        owner = partial.name.split("-")[0]
        if not (owner.isdigit() and psutil.pid_exists(int(owner))):
            partial.unlink(missing_ok=True)
    return lines
