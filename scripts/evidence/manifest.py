"""sha256_manifest.txt: `<hex>  ./<path>` for every file of evidence/, sorted by C locale."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING

from common.cli import ScriptError
from common.hashing import BLOCK_BYTES, sha256_file
from evidence.files import ArtifactError, safe_name, shown, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

MANIFEST = "sha256_manifest.txt"
_LINE = re.compile(r"([0-9a-f]{64})  \./([A-Za-z0-9._/-]+)")


class ManifestError(ScriptError):
    """A manifest that is not exactly as `build` writes it."""


def hash_files(root: str, sizes: Mapping[str, int]) -> tuple[dict[str, str], list[str]]:
    """SHA-256 of files: the large ones on all cores, the small ones in this thread.

    hashlib lets go of the interpreter lock, but for a file of a few KiB handing the
    lock around costs more than the hash (measured: 0.24 s instead of 0.19 s for 10,000).

    Args:
        root: the folder that the paths are relative to.
        sizes: size in bytes by path, as `walk` returns it.

    Returns:
        The hex digest by path, and one line for each file that could not be hashed.
    """
    large = sorted((path for path in sizes if sizes[path] > BLOCK_BYTES), key=sizes.__getitem__)
    small = [path for path in sizes if sizes[path] <= BLOCK_BYTES]
    digests: dict[str, str] = {}
    problems: list[str] = []
    workers = [
        threading.Thread(target=_hash_from, args=(root, large, digests, problems))
        for _ in range(min(len(large), os.cpu_count() or 2))
    ]
    for worker in workers:
        worker.start()
    _hash_from(root, small, digests, problems)
    for worker in workers:
        worker.join()
    return digests, problems


def _hash_from(root: str, queue: list[str], digests: dict[str, str], problems: list[str]) -> None:
    # list.pop, dict assignment and list.append are atomic: no lock is needed here.
    while queue:
        try:
            path = queue.pop()
        except IndexError:  # another thread took the last one
            return
        try:
            digests[path] = sha256_file(f"{root}/{path}")
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            problems.append(f"{shown(path)}: expected a readable file, got: {reason}")
        except ScriptError as problem:
            problems.append(f"{shown(path)}: {problem}")


def build(evidence: Path) -> bytes:
    """The manifest of a folder.

    Raises:
        ArtifactError: the folder is empty or holds a link, a special file, a name
            outside [A-Za-z0-9._/-], names equal after case folding, or an unreadable file.
    """
    try:
        files, problems = walk(str(evidence))
    except OSError as problem:
        raise ArtifactError(f"can't list {evidence}: {problem.strerror}") from problem
    if not problems:
        digests, problems = hash_files(str(evidence), files)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ArtifactError(f"evidence can't be sealed: {problems[0]}{more}")
    return render(digests)


def render(digests: Mapping[str, str]) -> bytes:
    """The manifest's bytes for known digests by path."""
    # The whole line is sorted, hex first: that is what `LC_ALL=C sort` does in the recipe.
    return "".join(sorted(f"{digest}  ./{path}\n" for path, digest in digests.items())).encode()


def parse(data: bytes) -> dict[str, str]:
    """Digest by path from a manifest, which has to be byte for byte what `build` writes.

    Raises:
        ManifestError: with the line, what was expected and what was found.
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as problem:
        raise ManifestError(f"expected ASCII, got byte {data[problem.start]:#04x}") from problem
    if "\r" in text:
        line = text[: text.index("\r")].count("\n") + 1
        raise ManifestError(f"line {line}: expected LF line ends, got CR (CRLF)")
    if not text.endswith("\n"):
        got = f"{shown(text[-20:])}" if text else "an empty manifest"
        raise ManifestError(f"expected at least one line and a final newline, got {got}")
    return _parse_lines(text[:-1].split("\n"))


def _parse_lines(lines: Sequence[str]) -> dict[str, str]:
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ManifestError(f"line {number}: expected '<hex>  ./<path>', got {shown(line)}")
        digest, path = match.groups()
        if not safe_name(path):
            raise ManifestError(
                f"line {number}: expected a path below evidence/ without '..', '.' or empty "
                f"parts and not absolute, got {shown(path)}"
            )
        if path in digests:
            raise ManifestError(f"line {number}: expected each path once, got {shown(path)} twice")
        if number > 1 and line < lines[number - 2]:
            raise ManifestError(f"line {number}: expected sorted lines, got {shown(line)} too late")
        digests[path] = digest
    _check_case_folding(digests)
    return digests


def _check_case_folding(paths: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    checked: set[str] = set()
    for path in paths:
        name = path
        while name and name not in checked:
            checked.add(name)
            twin = seen.setdefault(name.casefold(), name)
            if twin != name:
                raise ManifestError(
                    "expected names that differ after case folding, "
                    f"got {shown(twin)} and {shown(name)}"
                )
            name = name.rpartition("/")[0]
