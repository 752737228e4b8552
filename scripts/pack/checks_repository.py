"""What an index says about a repository, looked up in the repository itself (H5)."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from common.hashing import sha256_bytes
from evidence.files import shown
from pack import tokens
from pack.checks import plain
from pack.verify import Check, Subject, UnknownError, declare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

REPOSITORY_CHECKS: list[Check] = []
# As schemas/index.schema.json defines the reasons for which a file is skipped.
_LARGE_BYTES = 1 << 20
_LONG_LINE_BYTES = 4_096


@declare(REPOSITORY_CHECKS, "commit", "A pack of another commit is not a pack of this one.")
def commit(subject: Subject) -> Iterator[str]:
    """Compare the commit with the repository's HEAD; a plain folder has none."""
    expected, got = subject.repository.commit, subject.index["repository"]["commit"]
    if expected != got:
        yield f"repository.commit: expected {expected}, got {got}"


@declare(REPOSITORY_CHECKS, "tree-hash", "What was packed is what the repository holds, all of it.")
def tree_hash(subject: Subject) -> Iterator[str]:
    """Hash the whole tree."""
    expected, got = subject.repository.tree_sha256, subject.index["repository"]["tree_sha256"]
    if expected != got:
        yield f"repository.tree_sha256: expected {expected}, got {got}"


@declare(REPOSITORY_CHECKS, "files-seen", "A packer that saw fewer files packed something else.")
def files_seen(subject: Subject) -> Iterator[str]:
    """Count the files of the repository."""
    expected, got = len(subject.repository.files), subject.index["counts"]["files_seen"]
    if expected != got:
        yield f"counts.files_seen: expected {expected}, got {got}"


@declare(REPOSITORY_CHECKS, "skips-look-right", "A file is not skipped for what it is not.")
def skips_look_right(subject: Subject) -> Iterator[str]:
    """Count the files that each reason can be true of; `generated` is the packer's judgement."""
    packed = {item["path"] for item in subject.index["files"]}
    files = subject.repository.files
    rest = [data for path, data in files.items() if path not in packed]
    claimed = subject.index["counts"]["files_skipped"]
    if claimed["empty"] != (empty := sum(not data for data in files.values())):
        yield f"files_skipped.empty: expected {empty}, got {claimed['empty']}"
    for reason, holds in _REASONS.items():
        if claimed[reason] > (most := sum(map(holds, rest))):
            yield f"files_skipped.{reason}: expected at most {most}, got {claimed[reason]}"


@declare(
    REPOSITORY_CHECKS,
    "known-paths",
    "A listed path is one of this repository: else it is another, or a part of it, or made up.",
)
def known_paths(subject: Subject) -> Iterator[str]:
    """Each listed file is in the repository."""
    for item in subject.index["files"]:
        if item["path"] not in subject.repository.files and plain(item["path"]):
            yield f"files: expected a path of the repository, got {shown(item['path'])}"


@declare(REPOSITORY_CHECKS, "file-sizes", "A wrong size makes wrong ranges look right.")
def file_sizes(subject: Subject) -> Iterator[str]:
    """Compare the sizes."""
    for item, data in _files(subject):
        if item["size_bytes"] != len(data):
            yield f"{shown(item['path'])}: expected {len(data)} bytes, got {item['size_bytes']}"


@declare(REPOSITORY_CHECKS, "file-hashes", "The file that was packed is the repository's (H5).")
def file_hashes(subject: Subject) -> Iterator[str]:
    """Hash each listed file."""
    for item, data in _files(subject):
        if (digest := sha256_bytes(data)) != item["sha256"]:
            yield f"{shown(item['path'])}: expected {digest}, got {item['sha256']}"


@declare(REPOSITORY_CHECKS, "chunk-hashes", "The text of a chunk is the file's text there (H5).")
def chunk_hashes(subject: Subject) -> Iterator[str]:
    """Hash each chunk."""
    for chunk, data in _chunks(subject):
        part = data[chunk["start_byte"] : chunk["end_byte"]]
        if (digest := sha256_bytes(part)) != chunk["sha256"]:
            yield f"{chunk['id']}: expected {digest}, got {chunk['sha256']}"


@declare(REPOSITORY_CHECKS, "whole-lines", "Half a line, or half a letter, is no text to read.")
def whole_lines(subject: Subject) -> Iterator[str]:
    """A chunk starts and ends where a line does."""
    for chunk, data in _chunks(subject):
        for place in (chunk["start_byte"], chunk["end_byte"]):
            if place not in {0, len(data)} and data[place - 1 : place] != b"\n":
                yield f"{chunk['id']}: expected the start or end of a line, got byte {place}"


@declare(REPOSITORY_CHECKS, "line-numbers", "A reader finds a chunk by its lines.")
def line_numbers(subject: Subject) -> Iterator[str]:
    """Look up the lines of each chunk; the lines of a file are found once."""
    ends: dict[str, list[int]] = {}
    for chunk, data in _chunks(subject):
        if chunk["path"] not in ends:
            ends[chunk["path"]] = [found.start() for found in re.finditer(b"\n", data)]
        first = bisect_left(ends[chunk["path"]], chunk["start_byte"]) + 1
        last = bisect_left(ends[chunk["path"]], chunk["end_byte"] - 1) + 1
        got = (chunk["start_line"], chunk["end_line"])
        if got != (first, last):
            yield f"{chunk['id']}: expected lines {first} to {last}, got {got[0]} to {got[1]}"


@declare(REPOSITORY_CHECKS, "text", "Bytes that are not UTF-8 text have no tokens to count.")
def text(subject: Subject) -> Iterator[str]:
    """Decode each chunk that is cut at lines."""
    for chunk, data in _chunks(subject):
        part = data[chunk["start_byte"] : chunk["end_byte"]]
        if _decoded(part) is None and _decoded(data) is None:
            yield f"{chunk['id']}: expected UTF-8 text, got other bytes"


@declare(REPOSITORY_CHECKS, "tokens", "Tokens are counted again, because the budget is in tokens.")
def recount(subject: Subject) -> Iterator[str]:
    """Count each chunk again with the vocabulary that the index names."""
    chunks = list(_chunks(subject))
    name = subject.index["tokenizer"]["used"]
    vocabulary = tokens.known(name)
    count = None if vocabulary is None else tokens.counter(vocabulary)
    if count is None:
        wanted = f"put its vocabulary into {tokens.CACHE_VARIABLE}" if vocabulary else "pack anew"
        raise UnknownError(f"the tokenizer {name} is not on this machine: {wanted}")
    for chunk, data in chunks:
        part = _decoded(data[chunk["start_byte"] : chunk["end_byte"]])
        if part is not None and (expected := count(part)) != chunk["tokens"]:
            yield f"{chunk['id']}: expected {expected} tokens, got {chunk['tokens']}"


def _files(subject: Subject) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """Each listed file that the repository has."""
    files = subject.repository.files
    for item in subject.index["files"]:
        if item["path"] in files:
            yield item, files[item["path"]]


def _chunks(subject: Subject) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """Each chunk that lies inside a file of the repository, with that file."""
    files = subject.repository.files
    for chunk in subject.index["chunks"]:
        data = files.get(chunk["path"])
        if data is not None and chunk["start_byte"] < chunk["end_byte"] <= len(data):
            yield chunk, data


def _is_binary(data: bytes) -> bool:
    return b"\0" in data or _decoded(data) is None


_REASONS: Mapping[str, Callable[[bytes], bool]] = {
    "binary": _is_binary,
    "large": lambda data: len(data) > _LARGE_BYTES,
    "long_lines": lambda data: any(len(line) >= _LONG_LINE_BYTES for line in data.split(b"\n")),
}


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
