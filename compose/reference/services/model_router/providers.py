"""Providers in order of preference, and what happens when one of them fails (C11).

Both providers serve the same model, so that a fall-back changes the price and the record,
never the answer. `MODEL_ROUTER_FAULTS` (an operator's setting, read once at start; no
request can set it) makes a provider fail for chaos tests:
`primary=401,429,200` answers the first call with 401, the second with 429, the third
normally, and then starts again; `primary=503` fails always; providers are separated by ";".
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.model_router.model import Answer, generate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FAULTS_VARIABLE = "MODEL_ROUTER_FAULTS"
OK = 200
REASONS = {
    401: "credentials refused",
    403: "access denied",
    429: "rate limited",
    500: "internal error",
    502: "bad gateway",
    503: "unavailable",
    504: "timed out",
}


class ProviderFailedError(Exception):
    """One provider did not answer.

    Args:
        provider: its name.
        status: the HTTP status that it gave.
    """

    def __init__(self, provider: str, status: int) -> None:
        """Say which provider failed, with which status."""
        super().__init__(f"{provider}: {status} {REASONS[status]}")


class NoProviderError(Exception):
    """Every provider failed; the message names each with its reason."""


class FaultSettingError(ValueError):
    """`MODEL_ROUTER_FAULTS` can't be read."""


@dataclass
class Provider:
    """One provider of the model.

    Args:
        name: as it stands in answers, usage records and logs.
        price_micro_usd_per_thousand: the price of 1,000 tokens.
        faults: the statuses of its calls in turn; None: always 200.
    """

    name: str
    price_micro_usd_per_thousand: int
    faults: Iterator[int] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, prompt: str, seed: int, max_tokens: int) -> Answer:
        """Run the model.

        Raises:
            ProviderFailedError: this provider fails just now.
        """
        with self.lock:
            status = next(self.faults) if self.faults else OK
        if status != OK:
            raise ProviderFailedError(self.name, status)
        return generate(prompt, seed, max_tokens)


@dataclass(frozen=True)
class Decision:
    """Which provider answered, and why it was not the first; `fallback_reason` is for records."""

    provider: Provider
    answer: Answer
    fallback_reason: str | None


def providers_from_environment(environ: Mapping[str, str]) -> tuple[Provider, ...]:
    """The two providers, with the faults that the operator asked for.

    Raises:
        FaultSettingError: an unknown provider or status in MODEL_ROUTER_FAULTS.
    """
    providers = (Provider("primary", 500), Provider("secondary", 800))
    by_name = {provider.name: provider for provider in providers}
    for part in filter(None, environ.get(FAULTS_VARIABLE, "").split(";")):
        name, _, statuses = part.strip().partition("=")
        if name not in by_name:
            raise FaultSettingError(
                f"{FAULTS_VARIABLE}: expected one of {', '.join(by_name)}, got {name!r}"
            )
        by_name[name].faults = itertools.cycle(_statuses(statuses))
    return providers


def _statuses(text: str) -> list[int]:
    known = {str(status): status for status in (OK, *REASONS)}
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in known:
            raise FaultSettingError(
                f"{FAULTS_VARIABLE}: expected statuses among {', '.join(known)}, got {word!r}"
            )
    return [known[word] for word in words]


def complete(providers: Sequence[Provider], prompt: str, seed: int, max_tokens: int) -> Decision:
    """Ask the providers in order; the first that answers wins.

    Raises:
        NoProviderError: none of them answered.
    """
    reasons: list[str] = []
    for provider in providers:
        try:
            answer = provider.complete(prompt, seed, max_tokens)
        except ProviderFailedError as problem:
            reasons.append(str(problem))
        else:
            return Decision(provider, answer, "; ".join(reasons) or None)
    raise NoProviderError("; ".join(reasons) or "no provider is configured")
