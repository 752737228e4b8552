"""Have a repository packed: the harness reads it, the system under proof gets bytes only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from common.cli import ScriptError
from pack.archive import make_archive
from stack.placeholders import fill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pack.repository import Repository
    from stack.packer import Packer

CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
INDEX_LIMIT_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class PackRequest:
    """What is asked of a packer."""

    repository: Repository
    budget_tokens: int
    tokenizer: str


def ask_for_pack(
    packer: Packer, base_url: str, headers: Mapping[str, str], wanted: PackRequest
) -> bytes:
    """Send a repository to its packer; the bytes of the index.

    Args:
        packer: the endpoint.
        base_url: where its service answers.
        headers: the endpoint's headers, secrets filled in.
        wanted: the repository, the budget and the tokenizer.

    Raises:
        ScriptError: no answer, another status than 200, or an answer that is too long.
    """
    values = {
        "budget": wanted.budget_tokens,
        "tokenizer": wanted.tokenizer,
        "repository": wanted.repository.name,
        "commit": wanted.repository.commit or "",
    }
    query = urlencode({name: fill(text, values) for name, text in packer.query.items()})
    url = f"{base_url}{packer.path}{'?' if query else ''}{query}"
    status, body = _send(packer.method, url, dict(headers), make_archive(wanted.repository.files))
    if status != 200:  # noqa: PLR2004 - HTTP
        said = body[:200].decode("utf-8", "replace")
        raise ScriptError(f"{packer.path}: expected status 200, got {status}: {said}")
    return body


def _send(method: str, url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    import requests
    import urllib3

    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy or .netrc between the proof and the system
            answer = session.request(
                method,
                url,
                data=body,
                headers={"Content-Type": "application/x-tar", **headers},
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,
            )
            parts = bytearray()
            for part in answer.iter_content(_BLOCK_BYTES):
                parts += part
                if len(parts) > INDEX_LIMIT_BYTES:
                    raise ScriptError(f"expected an index of at most {INDEX_LIMIT_BYTES} bytes")
            return answer.status_code, bytes(parts)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as problem:
        where = url.partition("?")[0]
        raise ScriptError(f"no answer from {where}: {type(problem).__name__}") from problem
