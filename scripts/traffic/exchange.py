"""One request over one connection of its own, with the time of everything that happens.

Importing this costs 0.2 s: better inside a function, before the traffic starts, than
while the first answer is waited for.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp

from stack.placeholders import fill, fill_value
from traffic.answers import problem_of
from traffic.sample import NEVER, Outcome, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from traffic.model import Profile, Step
    from traffic.target import Target

ANSWER_BYTES = 4 << 20


@dataclass
class Exchange:
    """A request on its way; times are seconds since the run's start."""

    profile: int
    step: int
    sequence: int
    intended_seconds: float
    sent_seconds: float = NEVER
    first_byte_seconds: float = NEVER
    first_token_seconds: float = NEVER
    done_seconds: float = NEVER
    outcome: Outcome = Outcome.UNFINISHED
    status: int = 0
    text: str | None = None

    def sample(self) -> Sample:
        """What came of it."""
        values = {name: value for name, value in vars(self).items() if name != "text"}
        return Sample(**values)


class Courier:
    """Sends requests to a running system; use it as a context.

    Args:
        target: where they go.
        clock: seconds; counts while the machine sleeps.
        start: the clock's reading that is second 0.
    """

    def __init__(self, target: Target, clock: Callable[[], float], start: float) -> None:
        """Nothing is opened before the context is entered."""
        self._target, self._clock, self._start = target, clock, start
        self._secrets = {f"secret:{name}": value for name, value in target.secrets.items()}

    async def __aenter__(self) -> Self:
        """Open the client: no connection is used twice, nothing is sent but what is asked for."""
        self._session = aiohttp.ClientSession(
            # A kept connection was seen to answer after its listener was closed.
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_problem: object) -> None:
        """Close the client."""
        await self._session.close()

    def now(self) -> float:
        """Seconds since the run's start."""
        return self._clock() - self._start

    async def ask(
        self, profile: Profile, exchange: Exchange, values: Mapping[str, object]
    ) -> bytes:
        """Send one request and wait for its whole answer, or for the end of its time.

        Args:
            profile: what is asked; `exchange` says which step.
            exchange: gets times, status, outcome and text.
            values: placeholders of this start: `sequence` and the captures so far.

        Returns:
            The answer, as far as it came.
        """
        step, body = profile.steps[exchange.step], bytearray()
        limit = profile.timeout_seconds
        try:
            async with asyncio.timeout(limit - (self.now() - exchange.intended_seconds)):
                too_long = await self._exchange(profile, exchange, values, body)
        except TimeoutError:
            self.end(exchange, Outcome.TIMEOUT, f"{_progress(exchange, body)} within {limit:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            cause = str(problem) or type(problem).__name__
            self.end(exchange, Outcome.ERROR, f"{_progress(exchange, body)}: {cause}")
        else:
            problem_text = too_long or self._problem(profile, step, exchange, body, values)
            self.end(exchange, Outcome.WRONG if problem_text else Outcome.OK, problem_text)
        return bytes(body)

    async def _exchange(
        self,
        profile: Profile,
        exchange: Exchange,
        values: Mapping[str, object],
        body: bytearray,
    ) -> str | None:
        arguments = self._request(profile, exchange, values)
        exchange.sent_seconds = self.now()
        async with self._session.request(allow_redirects=False, **arguments) as response:
            exchange.first_byte_seconds, exchange.status = self.now(), response.status
            problem = await self._read(response, exchange, body, profile.first_token)
            exchange.done_seconds = self.now()
            return problem

    def _request(
        self, profile: Profile, exchange: Exchange, values: Mapping[str, object]
    ) -> dict[str, Any]:
        step = profile.steps[exchange.step]
        quoted = {name: quote(str(value), safe="") for name, value in values.items()}
        known = {**values, **self._secrets}
        headers = {name: fill(text, known) for name, text in step.headers.items()}
        content = step.bodies[exchange.sequence % len(step.bodies)]
        data = None if content is None else json.dumps(fill_value(dict(content), values)).encode()
        if data is not None:
            headers.setdefault("Content-Type", "application/json")
        url = self._target.urls[profile.service] + fill(step.path, quoted)
        return {"method": step.method, "url": url, "headers": headers, "data": data}

    async def _read(
        self,
        response: aiohttp.ClientResponse,
        exchange: Exchange,
        body: bytearray,
        first_token: str | None,
    ) -> str | None:
        """Read the whole answer; time to first token is not time to headers."""
        marker = first_token.encode() if first_token else b""
        async for chunk in response.content.iter_any():
            body += chunk
            # The marker may have come in two parts.
            begin = max(0, len(body) - len(chunk) - len(marker) + 1)
            no_token = marker and math.isnan(exchange.first_token_seconds)
            if no_token and body.find(marker, begin) >= 0:
                exchange.first_token_seconds = self.now()
            if len(body) > ANSWER_BYTES:
                return f"expected an answer of at most {ANSWER_BYTES} bytes, got more"
        return None

    def _problem(
        self,
        profile: Profile,
        step: Step,
        exchange: Exchange,
        body: bytearray,
        values: Mapping[str, object],
    ) -> str | None:
        clean = self._target.clean
        problem = problem_of(step, exchange.status, bytes(body), values, clean)
        if problem is None and profile.first_token and math.isnan(exchange.first_token_seconds):
            return f"expected the first token {profile.first_token!r} in the stream, got none"
        return problem

    def end(self, exchange: Exchange, outcome: Outcome, text: str | None) -> None:
        """Say what came of a request; secrets are taken out of the text."""
        exchange.outcome = outcome
        exchange.text = None if text is None else self._target.clean(text)
        if math.isnan(exchange.done_seconds):
            exchange.done_seconds = self.now()


def _progress(exchange: Exchange, body: bytearray) -> str:
    """How far an answer had come."""
    if math.isnan(exchange.first_byte_seconds):
        return "no answer"
    return f"status {exchange.status}, no whole answer but {len(body)} bytes"
