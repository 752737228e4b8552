"""What an index must be in itself: declared checks that need no repository (H5).

Each looks at one thing only, and passes over what another check refuses already, so that a
broken index is refused for its own reason.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from common.hashing import canonical_json, sha256_json
from evidence.files import shown
from pack import tokens
from pack.verify import Check, NothingAskedError, Subject, UnknownError, Wanted, declare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHECKS: list[Check] = []


@declare(CHECKS, "canonical-bytes", "One value has one byte string (RFC 8785), so packs compare.")
def canonical_bytes(subject: Subject) -> Iterator[str]:
    """Compare the file with the canonical JSON of its own value."""
    if subject.data != canonical_json(subject.index):
        yield "expected the canonical JSON of the index, got other bytes for the same value"


@declare(CHECKS, "pack-hash", "An index that was edited after packing no longer fits its hash.")
def pack_hash(subject: Subject) -> Iterator[str]:
    """Hash everything but the hash."""
    rest = {key: value for key, value in subject.index.items() if key != "pack_sha256"}
    if (digest := sha256_json(rest)) != subject.index["pack_sha256"]:
        yield f"pack_sha256: expected {digest}, got {subject.index['pack_sha256']}"


@declare(CHECKS, "as-asked", "A pack of another repository, budget or tokenizer is no answer.")
def as_asked(subject: Subject) -> Iterator[str]:
    """Compare with what the reader asked for.

    Raises:
        NothingAskedError: the reader asked for nothing.
    """
    index, wanted = subject.index, subject.wanted
    if wanted == Wanted():
        raise NothingAskedError
    for place, asked, got in (
        ("budget_tokens", wanted.budget_tokens, index["budget_tokens"]),
        ("tokenizer.requested", wanted.tokenizer, index["tokenizer"]["requested"]),
        ("repository.name", wanted.name, index["repository"]["name"]),
        ("repository.commit", wanted.commit, index["repository"]["commit"]),
    ):
        if asked is not None and got != asked:
            yield f"{place}: expected {asked}, got {shown(got)}"


@declare(CHECKS, "something-packed", "A pack without a chunk proves nothing.")
def something_packed(subject: Subject) -> Iterator[str]:
    """Nothing packed is nothing proved: inconclusive."""
    if not subject.index["chunks"]:
        raise UnknownError("the index has no chunk: give a repository with text, or a budget")
    yield from ()


@declare(CHECKS, "within-budget", "A pack larger than its budget does not fit where it is used.")
def within_budget(subject: Subject) -> Iterator[str]:
    """Compare the stated total with the stated budget."""
    total, budget = subject.index["total_tokens"], subject.index["budget_tokens"]
    if total > budget:
        yield f"total_tokens: expected at most {budget}, got {total}"


@declare(
    CHECKS, "total-adds-up", "The total is the sum of the chunks, or the budget means nothing."
)
def total_adds_up(subject: Subject) -> Iterator[str]:
    """Add the tokens of the chunks."""
    total = sum(chunk["tokens"] for chunk in subject.index["chunks"])
    if total != subject.index["total_tokens"]:
        yield f"total_tokens: expected {total}, got {subject.index['total_tokens']}"


@declare(CHECKS, "counts-add-up", "Each file is packed, left out or skipped, and counted once.")
def counts_add_up(subject: Subject) -> Iterator[str]:
    """Add packed, left-out and skipped files."""
    counts = subject.index["counts"]
    total = len({item["path"] for item in subject.index["files"]}) + counts["files_left_out"]
    total += sum(counts["files_skipped"].values())
    if total != counts["files_seen"]:
        yield f"counts.files_seen: expected {total}, got {counts['files_seen']}"


@declare(CHECKS, "ids-once", "An id that two chunks have names neither.")
def ids_once(subject: Subject) -> Iterator[str]:
    """Count the ids."""
    for name, times in Counter(chunk["id"] for chunk in subject.index["chunks"]).items():
        if times > 1:
            yield f"chunks: expected the id {name} once, got it {times} times"


@declare(CHECKS, "paths-once", "A file that is listed twice has two hashes.")
def paths_once(subject: Subject) -> Iterator[str]:
    """Count the paths."""
    for path, times in Counter(item["path"] for item in subject.index["files"]).items():
        if times > 1:
            yield f"files: expected the path {shown(path)} once, got it {times} times"


@declare(
    CHECKS, "plain-paths", "A path that leaves the repository makes a reader open his own files."
)
def plain_paths(subject: Subject) -> Iterator[str]:
    """Relative, without `..`, empty parts, backslashes or control characters."""
    for path in {item["path"] for part in ("files", "chunks") for item in subject.index[part]}:
        if not plain(path):
            yield f"expected a plain relative path, got {shown(path)}"


@declare(CHECKS, "ordered", "Two packs of one tree are the same bytes only in one order.")
def ordered(subject: Subject) -> Iterator[str]:
    """Files by path, chunks by path and place; equal neighbours are other checks' business."""
    for part, key in (("files", _file_key), ("chunks", _chunk_key)):
        for before, after in pairwise(subject.index[part]):
            if key(before) > key(after):
                yield f"{part}: expected {shown(after['path'])} before {shown(before['path'])}"


@declare(CHECKS, "chunks-of-listed-files", "A chunk of a file that is not listed has no file hash.")
def chunks_of_listed_files(subject: Subject) -> Iterator[str]:
    """Each chunk's path is listed."""
    listed = {item["path"] for item in subject.index["files"]}
    for chunk in subject.index["chunks"]:
        if chunk["path"] not in listed and plain(chunk["path"]):
            yield f"{chunk['id']}: expected a listed path, got {shown(chunk['path'])}"


@declare(CHECKS, "files-with-chunks", "A listed file without a chunk is not in the pack.")
def files_with_chunks(subject: Subject) -> Iterator[str]:
    """Each listed file has a chunk."""
    used = {chunk["path"] for chunk in subject.index["chunks"]}
    for item in subject.index["files"]:
        if item["path"] not in used and plain(item["path"]):
            yield f"files: expected a chunk of {shown(item['path'])}, got none"


@declare(CHECKS, "chunks-inside-files", "A chunk past the end of its file can't be looked up (H5).")
def chunks_inside_files(subject: Subject) -> Iterator[str]:
    """Compare each range with the stated size of its file."""
    sizes = {item["path"]: item["size_bytes"] for item in subject.index["files"]}
    for chunk in subject.index["chunks"]:
        size = sizes.get(chunk["path"], chunk["end_byte"])
        if not chunk["start_byte"] < chunk["end_byte"] <= size:
            got = f"{chunk['start_byte']} to {chunk['end_byte']}"
            yield f"{chunk['id']}: expected bytes inside 0 to {size}, got {got}"


@declare(CHECKS, "no-overlap", "Text that is in two chunks is paid for twice (H5).")
def no_overlap(subject: Subject) -> Iterator[str]:
    """Within a file, each chunk starts where the one before has ended, or later."""
    for before, after in pairwise(sorted(subject.index["chunks"], key=_chunk_key)):
        if before["path"] == after["path"] and after["start_byte"] < before["end_byte"]:
            got = after["start_byte"]
            yield f"{after['id']}: expected a start at {before['end_byte']} or later, got {got}"


@declare(
    CHECKS, "tokenizer-as-named", "A count means something with the vocabulary it was made by."
)
def tokenizer_as_named(subject: Subject) -> Iterator[str]:
    """The vocabulary is the one of that name, and the one asked for or the known substitute.

    Raises:
        UnknownError: another one than the one asked for, of which we know nothing.
    """
    named = subject.index["tokenizer"]
    if named["used"] not in {named["requested"], tokens.FALLBACK}:
        got = f"{named['used']} where {named['requested']} was requested"
        yield f"tokenizer.used: expected it or {tokens.FALLBACK}, got {got}"
    elif named["used"] != named["requested"] and tokens.known(named["requested"]) is None:
        names = ", ".join(item.name for item in tokens.VOCABULARIES)
        raise UnknownError(f"tokenizer.requested: expected {names}, got {named['requested']}")
    vocabulary = tokens.known(named["used"])
    if vocabulary is None:
        return
    if named["vocabulary_sha256"] != vocabulary.sha256:
        got = named["vocabulary_sha256"]
        yield f"tokenizer.vocabulary_sha256: expected {vocabulary.sha256}, got {got}"


def plain(path: str) -> bool:
    """Whether a path is relative, and the same on every system."""
    odd = any(letter < " " or letter in "\\\x7f" for letter in path)
    return not odd and all(part not in {"", ".", ".."} for part in path.split("/"))


def _file_key(item: Mapping[str, Any]) -> tuple[bytes, int]:
    return _bytes(item["path"]), 0


def _chunk_key(item: Mapping[str, Any]) -> tuple[bytes, int]:
    return _bytes(item["path"]), item["start_byte"]


def _bytes(path: str) -> bytes:
    # A lone surrogate is JSON, but no UTF-8: canonical-bytes refuses it.
    return path.encode("utf-8", "surrogatepass")
