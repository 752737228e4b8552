"""Counts tokens with tiktoken, over the vocabulary asked for or the one that comes with us.

The vocabulary of cl100k is not ours to give away: it is used where TIKTOKEN_CACHE_DIR
has it, and never fetched. Elsewhere the bundled one counts, and the index names it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.metadata
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = "tiktoken"
# How text is cut before merging: the pattern of cl100k, from tiktoken_ext.openai_public.
PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
CACHE_VARIABLE = "TIKTOKEN_CACHE_DIR"


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary, the one file that holds it, and the digest that this file has to have."""

    name: str
    sha256: str
    file_name: str


CL100K = Vocabulary(
    "cl100k",
    "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    # What tiktoken calls it in its cache: the SHA-1 of the address it comes from.
    "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
)
BUNDLED = Vocabulary(
    "proof-pack-4k",
    "231d296f1f8c67a9413a1da14b0c9161b8fa308075a77f06720a4f8eb45d11f4",
    "proof-pack-4k.tiktoken",
)
NAMES = (CL100K.name, BUNDLED.name)
_BUNDLED_FOLDER = Path(__file__).with_name("vocabulary")


@dataclass(frozen=True)
class Tokenizer:
    """What counts, and everything that the index says about it."""

    requested: str
    vocabulary: Vocabulary
    library_version: str
    count: Callable[[str], int]

    def as_json(self) -> dict[str, str]:
        """The `tokenizer` of an index."""
        return {
            "requested": self.requested,
            "used": self.vocabulary.name,
            "library": LIBRARY,
            "library_version": self.library_version,
            "vocabulary_sha256": self.vocabulary.sha256,
        }


def tokenizer(requested: str) -> Tokenizer:
    """The tokenizer asked for, or the bundled one where its vocabulary is not on this machine.

    Raises:
        RuntimeError: the bundled vocabulary is not the one that was shipped.
    """
    folder = os.environ.get(CACHE_VARIABLE)
    if requested == CL100K.name and folder:
        data = _read(Path(folder) / CL100K.file_name)
        if hashlib.sha256(data).hexdigest() == CL100K.sha256:
            return Tokenizer(requested, CL100K, _version(), _counter(CL100K.name, data))
    data = _read(_BUNDLED_FOLDER / BUNDLED.file_name)
    if hashlib.sha256(data).hexdigest() != BUNDLED.sha256:
        raise RuntimeError(f"{BUNDLED.file_name} is not the vocabulary that was shipped")
    return Tokenizer(requested, BUNDLED, _version(), _counter(BUNDLED.name, data))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _version() -> str:
    return importlib.metadata.version(LIBRARY)


@functools.lru_cache(maxsize=2)
def _counter(name: str, data: bytes) -> Callable[[str], int]:
    """Loaded at first use: the start of the service does not wait for it."""
    import tiktoken

    ranks = {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in data.splitlines() if line)
    }
    encoding = tiktoken.Encoding(name, pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    # "Ordinary": a text that looks like a special token is text.
    return lambda text: len(encoding.encode_ordinary(text))
