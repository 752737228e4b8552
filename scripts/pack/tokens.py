"""Recount tokens on our own: which vocabularies we know, and where on this machine they are.

Shares no code with the packer of the reference system, so that a mistake there is found here.
"""

from __future__ import annotations

import base64
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.hashing import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE_VARIABLE = "TIKTOKEN_CACHE_DIR"
# How cl100k cuts a text before merging; the bundled vocabulary cuts the same way.
# Source: tiktoken_ext.openai_public.
_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary that we know: the digest of its file, and where that file may be.

    `bundled` files are beside this module; others in tiktoken's cache, if at all.
    """

    name: str
    sha256: str
    file_name: str
    bundled: bool


VOCABULARIES = (
    Vocabulary(
        "cl100k",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        bundled=False,
    ),
    Vocabulary(
        "proof-pack-4k",
        "231d296f1f8c67a9413a1da14b0c9161b8fa308075a77f06720a4f8eb45d11f4",
        "proof-pack-4k.tiktoken",
        bundled=True,
    ),
)
FALLBACK = "proof-pack-4k"


def known(name: str) -> Vocabulary | None:
    """The vocabulary of that name; None if we know none."""
    return next((item for item in VOCABULARIES if item.name == name), None)


@functools.cache
def counter(vocabulary: Vocabulary) -> Callable[[str], int] | None:
    """Counts the tokens of a text; None where this machine has no such vocabulary.

    A file with another digest than the known one counts as none.
    """
    folder = Path(__file__).parent if vocabulary.bundled else _cache_folder()
    try:
        data = (folder / vocabulary.file_name).read_bytes() if folder else b""
    except OSError:
        return None
    if sha256_bytes(data) != vocabulary.sha256:
        return None
    import tiktoken

    rows = (line.split() for line in data.splitlines())
    encoding = tiktoken.Encoding(
        vocabulary.name,
        pat_str=_PATTERN,
        mergeable_ranks={base64.b64decode(token): int(rank) for token, rank in rows},
        special_tokens={},
    )
    return lambda text: len(encoding.encode_ordinary(text))


def _cache_folder() -> Path | None:
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(folder) if folder else None
