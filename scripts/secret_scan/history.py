"""Git history: each object once, with the commit and the path where it first appears."""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from common.cli import ScriptError
from common.streams import buffered
from secret_scan.findings import Tally, Unread
from secret_scan.judging import Place
from secret_scan.streams import CHUNK_BYTES
from secret_scan.unpacking import scan_stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from secret_scan.text_scan import TextScanner

# Nothing of the repository runs, nothing is fetched, nothing is written.
_OPTIONS = ("-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "--no-pager")
_LOG = (
    "log", "--all", "--reflog", "--topo-order", "--reverse", "--root", "-m", "--raw", "--no-abbrev",
    "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "-z", "--format=%x01%H",
)  # fmt: skip
_LINK, _SUBMODULE = "120000", "160000"
_MESSAGE = "(commit message)"


@dataclass(frozen=True)
class ObjectRef:
    """One object: a blob with its first path and commit, a commit, or a tag."""

    id: str
    path: str
    commit: str | None


def repository_of(path: Path) -> Path | None:
    """The git folder that `path` stands in, or None."""
    folder = path if path.is_dir() else path.parent
    done = _run(folder, "rev-parse", "--absolute-git-dir")
    return None if done is None else folder.__class__(done.strip())


def unread_history(repository: Path) -> list[Unread]:
    """Why the history is not all here."""
    if (_run(repository, "rev-parse", "--is-shallow-repository") or "").strip() == "true":
        reason = "a shallow clone: fetch all of it (git fetch --unshallow, fetch-depth: 0)"
        return [Unread("(history)", reason)]
    return []


def objects_of(repository: Path) -> Iterator[ObjectRef]:
    """Every object of the repository that has content of its own, each once.

    First what commits bring, oldest first; then what no commit leads to, such as staged or
    amended files.

    Raises:
        ScriptError: git failed, so that the list may not be whole.
    """
    seen = set[bytes]()
    for ref in _reachable(repository):
        key = bytes.fromhex(ref.id)
        if key not in seen:
            seen.add(key)
            yield ref
    command = ("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)")
    for raw in _lines(repository, command, b"\n"):
        name, _, kind = raw.decode("ascii", "replace").partition(" ")
        if kind in {"blob", "commit", "tag"} and bytes.fromhex(name) not in seen:
            named = kind if kind == "blob" else f"{kind} message"
            path = f"({named} {name}, in no commit)" if kind == "blob" else f"({named})"
            yield ObjectRef(name, path, name if kind == "commit" else None)


def _reachable(repository: Path) -> Iterator[ObjectRef]:
    commit, raw_entry = None, None
    for raw in _lines(repository, _LOG, b"\0"):
        text = raw.decode("utf-8", "surrogateescape")
        if raw_entry is not None:
            mode, name = raw_entry
            raw_entry = None
            if mode != _SUBMODULE and name.strip("0"):
                yield ObjectRef(name, text, commit)
            continue
        text = text.lstrip("\n")
        if text.startswith("\x01"):
            commit = text[1:].strip()
            yield ObjectRef(commit, _MESSAGE, commit)
        elif text.startswith(":"):
            fields = text[1:].split(" ")
            raw_entry = (fields[1], fields[3])


def _environment() -> dict[str, str]:
    # Inside a git hook these point at another repository.
    ours = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    more = {"GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1"}
    return {**ours, **more, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _run(folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(
        ("git", *_OPTIONS, *arguments),
        cwd=folder, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if done.returncode else done.stdout


def _lines(repository: Path, arguments: Sequence[str], end: bytes) -> Iterator[bytes]:
    command = ("git", *_OPTIONS, "--git-dir", str(repository), *arguments)
    with subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        rest = b""
        while chunk := process.stdout.read(CHUNK_BYTES):
            *whole, rest = (rest + chunk).split(end)
            yield from whole
        if rest:
            yield rest
    if process.returncode:
        raise ScriptError(f"git {arguments[0]} ended with {process.returncode}: see its message")


def scan_objects(scanner: TextScanner, repository: str, objects: Sequence[ObjectRef]) -> Tally:
    """Scan objects, read through one `git cat-file`."""
    tally = Tally()
    command = ("git", *_OPTIONS, "--git-dir", repository, "cat-file", "--batch", "--buffer")
    with subprocess.Popen(
        command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None  # noqa: S101 - pipes were asked for
        assert process.stdout is not None  # noqa: S101
        # The names of one job fit into a pipe; git answers when it has read them all.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write("".join(f"{ref.id}\n" for ref in objects).encode())
            process.stdin.close()
        for ref in objects:
            _scan_object(scanner, process.stdout, ref, tally)
    return tally


def _scan_object(scanner: TextScanner, stream: IO[bytes], ref: ObjectRef, tally: Tally) -> None:
    fields = stream.readline().decode("ascii", "replace").split()
    if len(fields) != 3 or fields[0] != ref.id:  # noqa: PLR2004 - name, type, size
        tally.unread.append(Unread(ref.path, f"object {ref.id[:12]} is not in the repository"))
        return
    place = Place(ref.path, ref.commit)
    rest = [int(fields[2])]
    if scanner.is_excluded(ref.path):
        tally.counts["excluded"] += 1
    else:
        tally.counts["objects"] += 1
        scan_stream(scanner, buffered(_content(stream, rest)), place, tally)
    for _ in _content(stream, rest):
        pass  # what was not wanted
    stream.read(1)


def _content(stream: IO[bytes], rest: list[int]) -> Iterator[bytes]:
    while rest[0] > 0 and (chunk := stream.read(min(rest[0], CHUNK_BYTES))):
        rest[0] -= len(chunk)
        yield chunk
