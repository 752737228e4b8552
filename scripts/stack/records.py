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

from common.cli import ConfigurationError, ScriptError
from common.folders import cache_folder
from stack.memory import VARIABLE
from stack.secret_place import make_place, places_of, plan_place, remove_place

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER = "PROOF_PACK_RUN"
_END_SECONDS = 5.0
_ENGINE_SECONDS = 20


@dataclass
class Record:
    """One started stack: who started it, what runs, where its state is.

    `project` is a Compose project, and `engine` the variables that mean its engine;
    `secrets` is the folder in memory that holds its secrets, "" where there is none.
    """

    marker: str
    stack_file: str
    harness_pid: int
    harness_birth: str
    state: str
    processes: dict[str, tuple[int, str]] = field(default_factory=dict)
    runtime: str = "process"
    project: str = ""
    engine: dict[str, str] = field(default_factory=dict)
    secrets: str = ""

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

    def remove_folders(self) -> None:
        """Remove the state folder and the secrets; call it after everything has ended."""
        shutil.rmtree(self.state, ignore_errors=True)
        remove_place(self.secrets)

    def remove(self) -> None:
        """Forget the stack: it has ended."""
        self.path.unlink(missing_ok=True)


def new_record(stack_file: Path, runtime: str = "process") -> Record:
    """A record of this process, with empty private folders (mode 0700) for state and secrets.

    Raises:
        ConfigurationError: the cache folder, or the one in memory, can't be written.
    """
    marker = f"{os.getpid()}-{secrets.token_hex(6)}"
    state = cache_folder() / "state" / marker
    place = plan_place(state)
    record = Record(
        marker,
        str(stack_file),
        os.getpid(),
        birth(os.getpid()),
        str(state),
        runtime=runtime,
        secrets=str(place or ""),
    )
    try:
        record.save()
        state.mkdir(parents=True, mode=0o700)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise ConfigurationError(
            f"can't keep the state of a run in {cache_folder()}: {reason}: "
            "set PROOF_PACK_CACHE_DIR to a folder of yours"
        ) from problem
    if place:
        _make_place(record, place)
    return record


def _make_place(record: Record, place: Path) -> None:
    try:
        make_place(place)
    except OSError as problem:
        record.remove_folders()
        record.remove()
        reason = (problem.strerror or str(problem)).lower()
        raise ConfigurationError(
            f"can't keep the secrets of a run in {place}: {reason}: "
            f"set {VARIABLE} to a folder in memory of yours"
        ) from problem


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
        if remove_place(record.secrets):
            ended.append(f"removed the secrets of run {record.marker}")
        lines, removed = _remove_project(record)
        ended += lines
        if removed:
            record.remove()
    return ended + _sweep_nameless()


def _remove_project(record: Record) -> tuple[list[str], bool]:
    """Take down the containers of a record; whether none can be left.

    Where the engine is not there now, the record stays for a later command.
    """
    if not record.project:
        return [], True
    from stack.compose.engine import connect
    from stack.compose.leftovers import remove_project, things_of

    unchosen = {key: text for key, text in os.environ.items() if not key.startswith("DOCKER_")}
    try:
        engine = connect({**unchosen, **record.engine}, _ENGINE_SECONDS)
        try:
            return remove_project(engine, record.project), not things_of(engine, record.project)
        finally:
            engine.close()
    except (ScriptError, ImportError) as problem:
        return [f"the project {record.project} may still be there: {problem}"], False


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


def birth(pid: int) -> str:
    """When a process was started, in a form that no change of the clock alters.

    Linux counts from the boot, and the boot has an id; elsewhere it is the wall-clock
    time in whole seconds. Empty where there is no such process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        return f"{boot}:{stat.rpartition(')')[2].split()[19]}"
    except (OSError, IndexError):
        pass
    try:
        return str(round(psutil.Process(pid).create_time()))
    except psutil.Error:
        return ""


def same_process(pid: int, born: str) -> psutil.Process | None:
    """The process with this pid, unless the number now belongs to another one."""
    try:
        process = psutil.Process(pid)
        if born and birth(pid) == born and process.status() != psutil.STATUS_ZOMBIE:
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
        except ValueError:
            path.unlink(missing_ok=True)  # torn: nothing in it can be trusted
        except (OSError, TypeError):
            continue  # in use, or written by another version: not ours to judge


def _alive(record: Record) -> bool:
    return same_process(record.harness_pid, record.harness_birth) is not None


def _services(record: Record) -> list[psutil.Process]:
    found = (same_process(pid, born) for pid, born in record.processes.values())
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
    """Remove folders that no record names (killed between two lines)."""
    records = [*_records()]
    known = {path for record in records for path in (record.state, record.secrets)}
    lines = []
    states = cache_folder() / "state"
    for folder in states.glob("*"):
        if str(folder) not in known and not _owner_lives(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
            lines.append(f"removed the state folder {folder.name}")
    for marker, place in places_of(states):
        if str(place) not in known and not _owner_lives(marker) and remove_place(place):
            lines.append(f"removed the secrets of run {marker}")
    for partial in _folder().glob("*.partial"):
        if not _owner_lives(partial.name):
            partial.unlink(missing_ok=True)
    return lines


def _owner_lives(marker: str) -> bool:
    owner = marker.partition("-")[0]
    return owner.isdigit() and psutil.pid_exists(int(owner))
