"""sha256_manifest.txt: `<hex>  ./<path>` for every file of evidence/, sorted by C locale."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from common.cli import ScriptError
from evidence.files import ArtifactError, safe_name, shown
from evidence.hash_tree import TreeHashing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

MANIFEST = "sha256_manifest.txt"
SIGNATURE = MANIFEST + ".sig"
_PART = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+"
_SAFE_LINE = re.compile(rf"[0-9a-f]{{64}}  \./{_PART}(?:/{_PART})*")
_HEX_LENGTH, _PATH_AT = 64, 68
_LINE = re.compile(r"([0-9a-f]{64})  \./([A-Za-z0-9._/-]+)")


class ManifestError(ScriptError):
    """A manifest that is not exactly as `build` writes it."""


def build(evidence: Path) -> bytes:
    """The manifest of a folder.

    Raises:
        ArtifactError: the folder is empty or holds a link, a special file, a name
            outside [A-Za-z0-9._/-], names equal after case folding, or an unreadable file.
    """
    try:
        hashing = TreeHashing(str(evidence))
    except OSError as problem:
        raise ArtifactError(f"can't list {evidence}: {problem.strerror}") from problem
    digests, problems = hashing.finish()
    # A thread that died must not leave its files out of what is signed.
    left_out = set(hashing.files) - set(digests)
    if left_out and not problems:
        problems = [f"{shown(min(left_out))}: expected a digest, got none"]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ArtifactError(f"evidence can't be sealed: {problems[0]}{more}")
    return render(digests)


def render(digests: Mapping[str, str]) -> bytes:
    """The manifest's bytes for known digests by path."""
    # The whole line is sorted, hex first: that is what `LC_ALL=C sort` does in the recipe.
    return "".join(sorted(f"{digest}  ./{path}\n" for path, digest in digests.items())).encode()


def digest_of(path: str, data: bytes) -> str:
    """The digest of one file in a manifest that `build` has just made.

    Raises:
        ManifestError: the file is not in it.
    """
    line_end = f"  ./{path}\n".encode()
    at = data.find(line_end)
    if at < _HEX_LENGTH:
        raise ManifestError(f"expected {shown(path)} in the manifest, got no such line")
    return data[at - _HEX_LENGTH : at].decode("ascii")


def named_paths(data: bytes) -> set[str]:
    """The paths that a manifest seems to name; nothing in it is checked."""
    return {line[_PATH_AT:] for line in data.decode("ascii", "replace").split("\n")}


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
    lines = text[:-1].split("\n")
    digests = {line[_PATH_AT:]: line[:_HEX_LENGTH] for line in lines}
    # The quick way says only yes: whatever it does not like is looked at line by line.
    if not all(map(_SAFE_LINE.fullmatch, lines)) or len(digests) != len(lines):
        return _parse_lines(lines)
    if sorted(lines) != lines:
        return _parse_lines(lines)
    _check_case_folding(digests)
    return digests


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
    # Folders count too: A/x and a/y become one folder on a system that folds case.
    names = set(paths)
    parents = {path.rpartition("/")[0] for path in names}
    while parents:
        names |= parents
        parents = {path.rpartition("/")[0] for path in parents} - names
    if len({name.lower() for name in names}) == len(names):
        return
    seen: dict[str, str] = {}
    for name in sorted(names):
        twin = seen.setdefault(name.lower(), name)
        if twin != name:
            raise ManifestError(
                "expected names that differ after case folding, "
                f"got {shown(twin)} and {shown(name)}"
            )


def differences(expected: Mapping[str, str], got: Mapping[str, str]) -> list[str]:
    """One line for each file that is renamed, extra, missing or changed.

    Args:
        expected: the digest of each path in a manifest.
        got: the digest of each path that is there.
    """
    missing = sorted(set(expected) - set(got))
    renamed = {expected[path]: path for path in missing}
    found = []
    for path in sorted(set(got) - set(expected)):
        old = renamed.pop(got[path], None)
        if old is not None:
            missing.remove(old)
            found.append(f"expected {shown(old)}, got {shown(path)}: renamed")
        else:
            found.append(f"expected no such file, got {shown(path)}: extra")
    found += [f"expected {shown(path)}, got nothing: missing" for path in missing]
    for path in sorted(set(expected) & set(got)):
        if expected[path] != got[path]:
            found.append(f"{shown(path)}: expected {expected[path]}, got {got[path]}: changed")
    return found
