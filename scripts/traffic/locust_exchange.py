"""One request of a Locust worker: the courier's, but waiting in a greenlet.

gevent makes the sockets of `http.client` wait without holding up others. That needs its
monkey patches, so this module is only ever imported in a worker's process.
"""

from __future__ import annotations

import http.client
import math
import ssl
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import gevent  # type: ignore[import-untyped]

from traffic.exchange import ANSWER_BYTES, Courier
from traffic.sample import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from traffic.exchange import Exchange
    from traffic.model import Profile
    from traffic.target import Target

_BLOCK_BYTES = 1 << 16
_KEPT_IN_PATHS = "/%:?#[]@!$&'()*+,;=~"


class GreenCourier(Courier):
    """What the aiohttp engine sends and how it judges; only the waiting differs.

    Args:
        target: where requests go.
        clock: the master's, in seconds.
        start: the clock's reading that is second 0.
    """

    def __init__(self, target: Target, clock: Callable[[], float], start: float) -> None:
        """Read the certificates once: it takes longer than a request."""
        super().__init__(target, clock, start)
        secure = any(url.startswith("https:") for url in target.urls.values())
        self._tls = ssl.create_default_context() if secure else None

    def carry(self, profile: Profile, exchange: Exchange, values: Mapping[str, object]) -> bytes:
        """Send one request and wait for its whole answer; see `Courier.ask`."""
        step, body, limit = profile.steps[exchange.step], bytearray(), profile.timeout_seconds
        left = limit - (self.now() - exchange.intended_seconds)
        timer = gevent.Timeout.start_new(max(0.0, left))
        try:
            too_long = self._carry(profile, exchange, values, body)
        except gevent.Timeout:
            self.end(exchange, Outcome.TIMEOUT, f"{_progress(exchange, body)} within {limit:g} s")
        except (http.client.HTTPException, OSError, ValueError) as problem:
            cause = str(problem) or type(problem).__name__
            self.end(exchange, Outcome.ERROR, f"{_progress(exchange, body)}: {cause}")
        else:
            timer.close()
            problem_text = too_long or self._problem(profile, step, exchange, body, values)
            self.end(exchange, Outcome.WRONG if problem_text else Outcome.OK, problem_text)
        finally:
            timer.close()
        return bytes(body)

    def _carry(
        self,
        profile: Profile,
        exchange: Exchange,
        values: Mapping[str, object],
        body: bytearray,
    ) -> str | None:
        request = self._request(profile, exchange, values)
        address = urlsplit(request["url"])
        path = quote(address.path or "/", safe=_KEPT_IN_PATHS)
        if address.query:
            path += "?" + quote(address.query, safe=_KEPT_IN_PATHS)
        headers = {"Accept": "*/*", **request["headers"], "Connection": "close"}
        exchange.sent_seconds = self.now()
        connection = self._connection(address, profile.timeout_seconds)
        try:
            connection.request(request["method"], path, request["data"], headers)
            response = connection.getresponse()
            exchange.first_byte_seconds, exchange.status = self.now(), response.status
            problem = self._receive(response, exchange, body, profile.first_token)
            exchange.done_seconds = self.now()
            return problem
        finally:
            connection.close()

    def _connection(self, address: SplitResult, seconds: float) -> http.client.HTTPConnection:
        """One whose single steps are bounded; the timer bounds the whole exchange."""
        host, port = address.hostname or "", address.port
        if address.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=seconds)

    def _receive(
        self,
        response: http.client.HTTPResponse,
        exchange: Exchange,
        body: bytearray,
        first_token: str | None,
    ) -> str | None:
        """Read the whole answer as it comes."""
        marker = first_token.encode() if first_token else b""
        while chunk := response.read1(_BLOCK_BYTES):
            body += chunk
            # The marker may have come in two parts.
            begin = max(0, len(body) - len(chunk) - len(marker) + 1)
            if marker and body.find(marker, begin) >= 0:
                exchange.first_token_seconds, marker = self.now(), b""
            if len(body) > ANSWER_BYTES:
                return f"expected an answer of at most {ANSWER_BYTES} bytes, got more"
        if response.length:  # http.client says nothing of a body that is cut off
            raise ConnectionError(f"{response.length} bytes of the answer are missing")
        return None


def _progress(exchange: Exchange, body: bytearray) -> str:
    """How far an answer had come."""
    if math.isnan(exchange.first_byte_seconds):
        return "no answer"
    return f"status {exchange.status}, no whole answer but {len(body)} bytes"
