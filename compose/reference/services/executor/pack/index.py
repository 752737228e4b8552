"""Makes the pack index: the same bytes for the same tree, whoever sent it and in what order."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.executor.pack.selection import (
    SKIP_REASONS,
    Range,
    cut,
    rank,
    skip_by_content,
    skip_by_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.executor.pack.archive import Archive
    from services.executor.pack.deadline import Deadline
    from services.executor.pack.headers import Member
    from services.executor.pack.tokens import Tokenizer

SCHEMA = "index/1"
# The first time round no file takes more than this part of the budget.
FILE_SHARE = 4
# A budget that this many chunks in a row were too large for counts as used up.
MISSES_LIMIT = 64
# A megabyte of empty lines is 26,000 chunks of nothing, each of them a kilobyte in memory.
CHUNK_LIMIT = 50_000


class TooManyChunksError(Exception):
    """The files are cut into more chunks than an index may hold: "expected X, got Y"."""


@dataclass(frozen=True)
class Wanted:
    """What the caller asked for; `commit` is the caller's word, the bytes don't know it."""

    name: str
    commit: str | None
    budget_tokens: int


@dataclass(frozen=True)
class Chunk:
    """A range of a file that is in the pack."""

    path: str
    place: Range
    tokens: int
    sha256: str

    def as_json(self, number: int) -> dict[str, Any]:
        """The entry of the index."""
        identity = f"c{number:05}"
        return {
            "id": identity,
            "path": self.path,
            **vars(self.place),
            "tokens": self.tokens,
            "sha256": self.sha256,
        }


class Packer:
    """Packs one archive."""

    def __init__(
        self, archive: Archive, tokenizer: Tokenizer, wanted: Wanted, deadline: Deadline
    ) -> None:
        """See the class; `deadline` runs since before the archive was read."""
        self._archive, self._tokenizer, self._wanted = archive, tokenizer, wanted
        self._deadline = deadline
        self._digests: dict[str, str] = {}
        self._skipped = dict.fromkeys(SKIP_REASONS, 0)
        self._taken: dict[tuple[str, int], Chunk] = {}
        self._tokens: dict[str, int] = {}
        self._total_tokens = 0

    def index(self) -> bytes:
        """The canonical JSON (RFC 8785) of the index.

        Raises:
            TooSlowError: the time is over.
            TooManyChunksError: the budget has room for more chunks than an index has.
        """
        texts = [member for member in self._archive.members if self._is_text(member)]
        texts.sort(key=lambda member: rank(member.path))
        budget = self._wanted.budget_tokens
        for share_tokens in (budget // FILE_SHARE, budget):
            self._take(texts, share_tokens)
        value = self._value(len(texts))
        value["pack_sha256"] = hashlib.sha256(canonical(value)).hexdigest()
        return canonical(value)

    def _is_text(self, member: Member) -> bool:
        """Hash every file; count those that are left out by their reason."""
        self._deadline.check()
        self._digests[member.path] = self._archive.sha256(member)
        reason = skip_by_name(member.path, member.size_bytes)
        reason = reason or skip_by_content(self._archive.read(member))
        if reason:
            self._skipped[reason] += 1
        return reason is None

    def _take(self, texts: list[Member], share_tokens: int) -> None:
        misses = 0
        for chunk in self._candidates(texts):
            spent = self._tokens.get(chunk.path, 0)
            budget_left = self._wanted.budget_tokens - self._total_tokens
            if chunk.tokens <= min(budget_left, share_tokens - spent):
                self._add(chunk)
                misses = 0
            elif chunk.tokens > budget_left:
                misses += 1
            if misses == MISSES_LIMIT:
                return

    def _add(self, chunk: Chunk) -> None:
        if len(self._taken) == CHUNK_LIMIT:
            raise TooManyChunksError(
                f"expected at most {CHUNK_LIMIT} chunks, got more: ask for a smaller budget"
            )
        self._taken[(chunk.path, chunk.place.start_byte)] = chunk
        self._tokens[chunk.path] = self._tokens.get(chunk.path, 0) + chunk.tokens
        self._total_tokens += chunk.tokens

    def _candidates(self, texts: list[Member]) -> Iterator[Chunk]:
        for member in texts:
            data = self._archive.read(member)
            for place in cut(data):
                self._deadline.check()
                if (member.path, place.start_byte) not in self._taken:
                    part = data[place.start_byte : place.end_byte]
                    tokens = self._tokenizer.count(part.decode())
                    digest = hashlib.sha256(part).hexdigest()
                    yield Chunk(member.path, place, tokens, digest)

    def _value(self, texts: int) -> dict[str, Any]:
        wanted = self._wanted
        chunks = sorted(
            self._taken.values(), key=lambda chunk: (chunk.path.encode(), chunk.place.start_byte)
        )
        packed = {chunk.path for chunk in chunks}
        return {
            "schema": SCHEMA,
            "repository": {
                "name": wanted.name,
                "commit": wanted.commit,
                "tree_sha256": self._tree_sha256(),
            },
            "tokenizer": self._tokenizer.as_json(),
            "budget_tokens": wanted.budget_tokens,
            "total_tokens": self._total_tokens,
            "counts": {
                "files_seen": len(self._archive.members),
                "files_left_out": texts - len(packed),
                "files_skipped": self._skipped,
            },
            "files": [
                {
                    "path": member.path,
                    "sha256": self._digests[member.path],
                    "size_bytes": member.size_bytes,
                }
                for member in self._archive.members
                if member.path in packed
            ],
            "chunks": [chunk.as_json(number) for number, chunk in enumerate(chunks, start=1)],
        }

    def _tree_sha256(self) -> str:
        """The digest over `<sha256>  <path>` lines of every file, packed or not."""
        lines = [f"{self._digests[item.path]}  {item.path}\n" for item in self._archive.members]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def canonical(value: dict[str, Any]) -> bytes:
    """RFC 8785 for what an index holds: ASCII keys, texts, whole numbers below 2**53, null."""
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
    ).encode()
