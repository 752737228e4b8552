"""Credentials at rest: in memory or encrypted, never in plain text on a disk (G3d, K1)."""

from __future__ import annotations

import base64
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ScriptError
from configuration.encrypted import encrypted_form, is_encrypted_value
from configuration.gather import SECRET_FILE
from configuration.model import Check, Row
from stack.memory import memory_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from configuration.model import Subject

_BLOCK_BYTES = 1 << 20
_SHORTEST = 8
_LARGEST_KEY_BYTES = 1 << 16
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:RSA |EC |DSA |OPENSSH )?PRIVATE KEY-----")
_PLAIN = "a secret is on a disk in plain text: put it into memory, or encrypt the file"


def credentials_on_disk(subject: Subject) -> Iterator[Row]:
    """No env file or secret file holds a secret in plain text on a disk."""
    for item in subject.secrets:
        if item.source not in {"env-file", SECRET_FILE} or not item.path:
            continue
        path = Path(item.path)
        kept = memory_type(path) or _form_of(path) or is_encrypted_value(item.raw)
        # A line that only names a variable holds nothing itself.
        yield Row(item.place, "" if kept or item.purpose not in _own_names(item.name) else _PLAIN)


def credentials_of_a_run(subject: Subject) -> Iterator[Row]:
    """What Proof Pack keeps for a run is in memory or sealed: one is made, and looked at."""
    from stack import records
    from stack.compose.secret_files import write_secret_files
    from stack.secret_values import keep_secrets

    values = {item.name: item.value for item in subject.secrets if item.name in _stack(subject)}
    if not values:
        return
    record = records.new_record(subject.stack.file)
    try:
        keep_secrets(values, record)
        if "compose" in subject.runtimes:
            write_secret_files(values, Path(record.secrets or record.state))
        folders = [Path(record.state), Path(record.secrets) if record.secrets else None]
        yield from _held(folders, values, "made for a run")
    finally:
        record.remove_folders()
        record.remove()


def credentials_of_the_system(subject: Subject) -> Iterator[Row]:
    """No file of the running system, and no container's settings, hold a secret in plain text."""
    if subject.live is None or subject.state is None:
        return
    values = {name: text for name, text in subject.live.secrets.items() if len(text) >= _SHORTEST}
    if not values:
        return
    folders = [subject.state, subject.live.secrets_folder]
    yield from _held(folders, values, "the running system")
    if subject.live.has_containers:
        yield from _settings_of_containers(subject, values)
    elif "compose" in subject.runtimes:
        yield Row("containers", unseen="it is not known which engine they run in")


def environment_of_containers(subject: Subject) -> Iterator[Row]:
    """No container gets a secret as a variable: its engine keeps those on a disk."""
    for item in subject.settings:
        if item.source == "compose" and item.secret and item.service:
            problem = (
                "the engine writes a container's variables to its disk in plain text: use a file "
                f"secret and {item.name}_FILE"
            )
            encrypted = is_encrypted_value(item.value)
            yield Row(item.place, problem if item.value and not encrypted else "")


def private_keys(subject: Subject) -> Iterator[Row]:
    """Private keys in the state folder are in memory, encrypted, or nobody else's to read."""
    if subject.state is None or not subject.posix:
        return
    for path in _files(subject.state):
        if path.stat().st_size > _LARGEST_KEY_BYTES or not _PRIVATE_KEY.search(path.read_bytes()):
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        problem = f"others may read a private key (mode {mode:03o}): chmod 600"
        yield Row(f"{{state}}/{path.relative_to(subject.state)}", problem if mode & 0o007 else "")


def _stack(subject: Subject) -> tuple[str, ...]:
    return subject.stack.secrets


def _own_names(name: str) -> set[str]:
    return {name, f"{name} (password)", name.removesuffix(" (password)")}


def _held(folders: Iterable[Path | None], values: Mapping[str, str], what: str) -> Iterator[Row]:
    """A row for each file that holds one of the values, and one for all that were read."""
    needles, count = _needles(values), 0
    for folder in filter(None, folders):
        for path in _files(folder):
            place = f"{what}: {path.relative_to(folder).as_posix()}"
            try:
                names = _found(path, needles)
            except OSError as problem:
                yield Row(place, unseen=f"can't be read: {(problem.strerror or '').lower()}")
                continue
            count += 1
            if names:
                kind = memory_type(path)
                shown = f"{place} ({', '.join(names)}; {kind or 'on a disk'})"
                yield Row(shown, "" if kind else _PLAIN)
    yield Row(f"{what}: {count} files read", unseen="" if count else "there is no file")


def _needles(values: Mapping[str, str]) -> dict[bytes, str]:
    """Forms of each value: as it is, and in base64 where it starts a text."""
    found: dict[bytes, str] = {}
    for name, value in values.items():
        raw = value.encode()
        found[raw] = name
        found[base64.b64encode(raw).rstrip(b"=")[:-1]] = name
    return found


def _found(path: Path, needles: Mapping[bytes, str]) -> list[str]:
    overlap, names, tail = max(map(len, needles)) - 1, set[str](), b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            data = tail + block
            names |= {name for needle, name in needles.items() if needle in data}
            tail = data[-overlap:]
    return sorted(names)


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _settings_of_containers(subject: Subject, values: Mapping[str, str]) -> Iterator[Row]:
    assert subject.live is not None  # noqa: S101 - the caller has looked
    try:
        known = subject.live.container_settings()
    except ScriptError as trouble:
        yield Row("containers", unseen=str(trouble))
        return
    needles = _needles(values)
    for service, text in known.items():
        names = sorted({name for needle, name in needles.items() if needle in text.encode()})
        problem = f"the engine keeps {', '.join(names)} on its disk: use a file secret"
        yield Row(f"container of {service}", problem if names else "")


def _form_of(path: Path) -> str:
    try:
        return encrypted_form(path.read_bytes())
    except OSError:
        return ""


CHECKS = (
    Check(
        "credentials-on-disk",
        "G3d",
        credentials_on_disk,
        "no env file or secret file holds a secret",
    ),
    Check(
        "credentials-of-a-run",
        "G3d",
        credentials_of_a_run,
        "the stack file names no secret",
        needed=True,
    ),
    Check("credentials-of-the-system", "G3d", credentials_of_the_system, "the system does not run"),
    Check(
        "environment-of-containers",
        "G3d",
        environment_of_containers,
        "no container is told a secret",
    ),
    Check("key-file-modes", "G3d", private_keys, "no state folder with private keys was seen"),
)
