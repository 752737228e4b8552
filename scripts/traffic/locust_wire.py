"""What Locust's master and workers of ours say to each other, and how each knows the other.

Locust's own protocol has neither authentication nor integrity, so every message of ours
carries a MAC over its direction, its number and its content, keyed by a token that both
ends have in their environment and that never travels. A message that is forged, changed,
repeated, left out or out of order is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError
from stack.placeholders import unknown_placeholders
from traffic.sample import Outcome, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from traffic.model import Profile

MESSAGE = "proof-pack"
PROTOCOL = 1
TOKEN_VARIABLE = "PROOF_PACK_WORKER_TOKEN"  # noqa: S105 - the variable's name
TO_MASTER, TO_WORKER = "to-master", "to-worker"

# A worker or master that is not heard of for so long is lost.
LOST_SECONDS = 10.0
# Beyond this the times of two machines can't be held against each other.
CLOCK_BOUND_SECONDS = 0.05
_SHORTEST_TOKEN = 16
_START_COLUMNS = 4
_SECRET = "secret:"  # noqa: S105 - the placeholder's kind


class RefusedError(Exception):
    """A message that is not to be believed, and why."""


def token_of(environ: Mapping[str, str]) -> bytes:
    """The token that master and workers share.

    Raises:
        ConfigurationError: there is none, or one that can be guessed.
    """
    value = environ.get(TOKEN_VARIABLE, "")
    if len(value) < _SHORTEST_TOKEN:
        raise ConfigurationError(
            f"{TOKEN_VARIABLE}: expected {_SHORTEST_TOKEN} characters or more, got {len(value)}: "
            "export the same random value here and for every worker (`openssl rand -hex 32`)"
        )
    return value.encode()


def secret_names(profiles: Sequence[Profile]) -> list[str]:
    """The secrets that some traffic needs: they stand in headers, and never travel to workers."""
    headers = [dict(step.headers) for profile in profiles for step in profile.steps]
    names = {name for _, name in unknown_placeholders(headers, ())}
    return sorted(name.removeprefix(_SECRET) for name in names if name.startswith(_SECRET))


def check_secrets(
    profiles: Sequence[Profile], secrets: Mapping[str, str], environ: Mapping[str, str]
) -> None:
    """Secrets never travel to workers: what the traffic needs must come from the environment.

    Raises:
        ConfigurationError: a secret was made at random for this start.
    """
    for name in secret_names(profiles):
        if environ.get(name) != secrets.get(name):
            raise ConfigurationError(
                f"{name} was made for this start, so no worker can know it: "
                f"export {name} here and for every worker"
            )


def nonce() -> str:
    """A number that was never used before."""
    return secrets.token_hex(16)


def code_sha256() -> str:
    """What tells the code that sends and measures from any other version of it."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


class Seal:
    """One end of a conversation: signs what it says, checks what it hears.

    Args:
        key: of both ends.
        says: direction of the messages that this end sends; it hears the other one.
    """

    def __init__(self, key: bytes, says: str) -> None:
        """Nothing was said yet."""
        self._key, self._says = key, says
        self._hears = TO_WORKER if says == TO_MASTER else TO_MASTER
        self._said = self._heard = 0

    def session(self, worker_nonce: str, master_nonce: str) -> Seal:
        """The same two ends with a key that was never used before."""
        text = f"session {worker_nonce} {master_nonce}".encode()
        return Seal(hmac.digest(self._key, text, "sha256"), self._says)

    def wrap(self, kind: str, **fields: object) -> dict[str, str]:
        """A message, ready to be sent; send them in the order in which they were made."""
        body = json.dumps({"kind": kind, "number": self._said, **fields})
        self._said += 1
        return {"body": body, "mac": self._mac(self._says, body)}

    def open(self, data: object) -> dict[str, Any]:
        """The content of a message.

        Raises:
            RefusedError: not from the other end, changed on the way, or one before is missing.
        """
        match data:
            case {"body": str(body), "mac": str(mac)}:
                pass
            case _:
                raise RefusedError("expected a body and a MAC, got something else")
        if not hmac.compare_digest(self._mac(self._hears, body).encode(), mac.encode()):
            raise RefusedError("wrong token")
        found: dict[str, Any] = json.loads(body)
        if found["number"] != self._heard:
            raise RefusedError(f"expected message {self._heard}, got {found['number']}")
        self._heard += 1
        return found

    def _mac(self, direction: str, body: str) -> str:
        return hmac.new(self._key, f"{direction}\0{body}".encode(), "sha256").hexdigest()


def start_row(profile: int, step: int, sequence: int, intended_seconds: float) -> list[Any]:
    """A request that began, for a batch."""
    return [profile, step, sequence, intended_seconds]


def sample_row(sample: Sample, text: str | None) -> list[Any]:
    """A request that ended, for a batch; times that are not there are NaN, also in JSON."""
    return [*astuple(sample), text]


def is_start(row: list[Any]) -> bool:
    """Whether a row of a batch is one of `start_row`."""
    return len(row) == _START_COLUMNS


def read_sample(row: list[Any]) -> tuple[Sample, str | None]:
    """The sample of a row, and its error's text."""
    profile, step, sequence, intended, sent, first_byte, first_token, done, *rest = row
    outcome, status, text = rest
    times = intended, sent, first_byte, first_token, done
    return Sample(profile, step, sequence, *times, Outcome(outcome), status), text
