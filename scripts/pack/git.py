"""What we ask git: is this a work tree, what is HEAD, which bytes are in it, clone this URL.

Reads objects, not work trees: no filter, hook, link or line-ending setting has a say, and
two machines get the same bytes for the same commit.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from common.cli import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ASK_SECONDS, CLONE_SECONDS = 30.0, 120.0
_SCHEMES = frozenset({"http", "https", "ssh"})
_SCP_LIKE = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9~/_.][^\s]*")
_REGULAR_MODES = frozenset({"100644", "100755", "100664"})
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-pager")


def is_url(source: str) -> bool:
    """Whether this means another machine; a URL that git must not be given is an error.

    Raises:
        UsageError: another scheme than http, https and ssh, or no host.
    """
    if "://" not in source:
        return _SCP_LIKE.fullmatch(source) is not None
    try:
        parts = urlsplit(source)
        host = parts.hostname or ""
    except ValueError:
        parts, host = None, ""
    plain = host and not host.startswith("-") and not re.search(r"[\s\x00-\x1f]", source)
    if parts is None or parts.scheme not in _SCHEMES or not plain:
        raise UsageError(
            f"--repo: expected a folder or an http, https or ssh URL, got {without_user(source)}"
        )
    return True


def name_of(url: str) -> str:
    """What a repository is called: the last part of its URL."""
    last = re.split(r"[/:]", url.rstrip("/"))[-1]
    return last.removesuffix(".git")


def without_user(url: str) -> str:
    """The URL for a message: a password in it is nobody's business."""
    return re.sub(r"(://)[^/@]*@", r"\1", url)


def clone(url: str, folder: Path) -> None:
    """Fetch the newest commit of a URL, without a work tree, a prompt or another protocol.

    Raises:
        ConfigurationError: git can't, or not in time.
    """
    command = ["clone", "--quiet", "--depth=1", "--single-branch", "--no-tags", "--no-checkout"]
    command += ["--no-recurse-submodules", "--template=", "--", url, str(folder)]
    _run([*command], CLONE_SECONDS, f"can't clone {without_user(url)}")


def is_work_tree(folder: Path) -> bool:
    """Whether this folder is read by git; where no `.git` is at or above it, it is a plain one.

    Raises:
        ConfigurationError: there is a `.git`, but git does not take the folder for a work tree:
            read as a plain folder, it would give away what its .gitignore keeps back.
    """
    if not any(os.path.lexists(place / ".git") for place in (folder, *folder.parents)):
        return False
    problem = f"git can't read {folder}"
    command = ["-C", str(folder), "rev-parse", "--is-inside-work-tree"]
    if _run(command, ASK_SECONDS, problem).strip() != b"true":
        raise ConfigurationError(f"{problem}: expected a work tree, got git's own folder")
    return True


def head(folder: Path) -> str:
    """The full hash of HEAD.

    Raises:
        ConfigurationError: there is no commit yet.
    """
    command = ["-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD^{commit}"]
    return _run(command, ASK_SECONDS, f"{folder} has no commit yet: commit first").decode().strip()


def files_of(folder: Path, commit: str, limit_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of each regular file of a commit at or below a folder.

    Symbolic links and submodules are no files of the repository.

    Raises:
        ConfigurationError: git can't read it, a name is not UTF-8, or there is too much.
    """
    rows = list(_rows(folder, commit))
    if sum(size for _name, size, _path in rows) > limit_bytes:
        raise ConfigurationError(
            f"{folder}: expected at most {limit_bytes} bytes of files, got more: "
            "give a folder of it"
        )
    names = "".join(f"{name}\n" for name, _size, _path in rows).encode()
    problem = f"git can't read {folder}"
    data = _run(["-C", str(folder), "cat-file", "--batch"], CLONE_SECONDS, problem, names)
    position = 0
    for name, size, path in rows:
        header = f"{name} blob {size}\n".encode()
        start = position + len(header)
        position = start + size + 1
        if data[start - len(header) : start] != header or data[position - 1 : position] != b"\n":
            raise ConfigurationError(f"{problem}: expected the blob {name}, got none: fetch it")
        yield path, data[start : start + size]


def _rows(folder: Path, commit: str) -> Iterator[tuple[str, int, str]]:
    from pack.repository import check_path

    command = ["-C", str(folder), "ls-tree", "-r", "-z", "-l", commit]
    for row in _run(command, ASK_SECONDS, f"git can't list {folder}").split(b"\0"):
        if row:
            facts, _tab, path = row.partition(b"\t")
            mode, _kind, name, size = facts.decode().split()
            if mode in _REGULAR_MODES and not size.isdecimal():
                raise ConfigurationError(
                    f"git can't read {folder}: expected the blob {name}, got none: fetch it"
                )
            if mode in _REGULAR_MODES:
                yield name, int(size), check_path(path.decode("utf-8", "surrogateescape"))


def _run(command: Sequence[str], seconds: float, problem: str, data: bytes = b"") -> bytes:
    try:
        answer = _call(command, seconds, data)
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"{problem}: not done within {seconds:g} s") from None
    except FileNotFoundError:
        raise ConfigurationError("no git on this machine: install it, or give a folder") from None
    if answer.returncode:
        lines = without_user(answer.stderr.decode("utf-8", "replace")).split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        raise ConfigurationError(f"{problem}: {said[:200]}" if said else problem)
    return answer.stdout


def _call(
    command: Sequence[str], seconds: float, data: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    # Inside a git hook, GIT_DIR and its like would make every question one about the caller.
    environment = {
        name: value for name, value in os.environ.items() if not name.upper().startswith("GIT_")
    }
    environment |= {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GCM_INTERACTIVE": "never",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
        "GIT_ALLOW_PROTOCOL": ":".join(sorted(_SCHEMES)),
        "GIT_NO_LAZY_FETCH": "1",
        # `git replace` puts other content under the same commit.
        "GIT_NO_REPLACE_OBJECTS": "1",
        # What outlives a git that was stopped for its time gives up by itself.
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
        "GIT_HTTP_LOW_SPEED_TIME": "20",
        "LC_ALL": "C",
    }
    return subprocess.run(
        ["git", *_SAFE, *command],
        input=data,
        capture_output=True,
        timeout=seconds,
        check=False,
        env=environment,
    )
