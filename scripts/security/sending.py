"""Turn a request of a corpus into the bytes that go out, in somebody's name."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from security.answers import Answers
from security.places import NotHadError
from security.wire import Exchange, Hold, exchange
from stack.placeholders import fill, fill_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from security.model import Security
    from security.tokens import Forger
    from stack.model import Stack

_FRAMING = frozenset({"content-length", "transfer-encoding"})


@dataclass(frozen=True)
class Ready:
    """A request as bytes, with where it goes."""

    url: str
    data: bytes
    hold: Hold | None
    heard: Callable[[Exchange], None]

    def send(self, timeout_seconds: float = 20.0) -> Exchange:
        """Send it over a connection of its own."""
        found = exchange(self.url, self.data, self.hold, timeout_seconds)
        self.heard(found)
        return found


class Speaker:
    """Speaks as the stack file's identities do, and as any service whose key can be had."""

    def __init__(
        self, stack: Stack, security: Security, secrets: Mapping[str, str], forger: Forger | None
    ) -> None:
        """Take who may speak, and with which secrets."""
        self._stack, self._security, self._forger = stack, security, forger
        self.secrets = {f"secret:{name}": value for name, value in secrets.items()}
        self.answers = Answers()

    def ready(self, request: Mapping[str, Any], values: Mapping[str, Any]) -> Ready:
        """The bytes of one request.

        Args:
            request: as in a corpus, merged.
            values: what placeholders stand for.

        Raises:
            NotHadError: it needs a key that can't be had.
        """
        url = self._stack.service(request["service"]).url
        known = {**self.secrets, **values, "host": urlsplit(url).netloc}
        if "payload" in request:
            known["payload"] = fill_value(request["payload"], known)
        hold = request.get("hold")
        heard = functools.partial(self.answers.add, request["service"])
        pause = Hold(hold["last_bytes"], hold["seconds"]) if hold else None
        method, target = request.get("method", "GET"), fill(request.get("path", "/"), known)
        body = _body(request, known)
        if token := request.get("token"):
            filled = fill_value(dict(token), known)
            known["token"] = self._mint().forge(filled, request["service"], method, target, body)
        if "raw" in request:
            return Ready(url, encode(fill(request["raw"], known)), pause, heard)
        lines = self._head(request, known, body)
        if request.get("chunked"):
            body = chunks(body)
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])
        return Ready(url, encode(head) + body, pause, heard)

    def _mint(self) -> Forger:
        if self._forger is None:
            raise NotHadError("the stack file has no security.service_tokens")
        return self._forger

    def _head(self, request: Mapping[str, Any], known: Mapping[str, Any], body: bytes) -> list[str]:
        """Header lines: ours, unless the request has one of that name."""
        given = [
            (name, fill(value, known))
            for name, values in request.get("headers", {}).items()
            for value in (values if isinstance(values, list) else [values])
        ]
        lines = [("Host", str(known["host"]))]
        identity = self._security.identities[request.get("as", "nobody")]
        lines += [(name, fill(value, known)) for name, value in identity.items()]
        if request.get("token") and self._security.tokens:
            lines.append((self._security.tokens.header, str(known["token"])))
        if "body" in request:
            lines.append(("Content-Type", "application/json"))
        if request.get("chunked"):
            lines.append(("Transfer-Encoding", "chunked"))
        elif body or "body" in request or "text" in request:
            lines.append(("Content-Length", str(len(body))))
        lines.append(("Connection", "close"))
        named = {name.lower() for name, _ in given}
        if named & _FRAMING:
            named |= _FRAMING
        ours = [(name, value) for name, value in lines if name.lower() not in named]
        return [f"{name}: {value}" for name, value in [*ours, *given]]


def _body(request: Mapping[str, Any], known: Mapping[str, Any]) -> bytes:
    if request.get("text") is not None:
        return encode(fill(request["text"], known))
    if "body" not in request or request["body"] is None:
        return b""
    return json.dumps(fill_value(request["body"], known)).encode()


def chunks(body: bytes) -> bytes:
    """A body in the chunked transfer coding: two chunks where there is enough for two."""
    parts = [body[: len(body) // 2], body[len(body) // 2 :]]
    coded = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part]
    return b"".join([*coded, b"0\r\n\r\n"])


def encode(text: str) -> bytes:
    r"""UTF-8; `\udc80` to `\udcff` stand for single bytes."""
    return text.encode("utf-8", "surrogateescape")
