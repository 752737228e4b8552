"""The optional `pack` section of a stack file: who packs a repository, and how it is asked (H5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

QUERY_NAMES = frozenset({"budget", "tokenizer", "repository", "commit"})
REPOSITORY_NAMES = frozenset({"here"})


@dataclass(frozen=True)
class Packer:
    """An endpoint that takes a tar as its body and answers with a pack index.

    `repository` is what is packed where nobody names another one; its `{here}` and the
    placeholders of `query` and `headers` are not filled in yet.
    """

    service: str
    path: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    repository: str | None = None


def read_packer(value: Mapping[str, Any] | None) -> Packer | None:
    """The section as a value; the stack schema has checked its keys."""
    return None if value is None else Packer(**value)
