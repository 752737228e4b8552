"""CORS: which pages of the web may call a service, as configured and as answered (K1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from configuration.model import Check, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from configuration.model import Subject

# A host that there never is (RFC 2606).
FOREIGN = "https://proof-pack.invalid"
ALLOW_ORIGIN = "access-control-allow-origin"
ALLOW_CREDENTIALS = "access-control-allow-credentials"
_ORIGINS = re.compile(r"CORS\w*ORIGIN|ALLOW(?:ED)?_?ORIGIN", re.IGNORECASE)
_CREDENTIALS = re.compile(r"CORS\w*CREDENTIALS|ALLOW_CREDENTIALS", re.IGNORECASE)
_YES = frozenset({"1", "true", "yes", "on"})
_ANY = re.compile(r"^\s*[\[\"']*(?:\*|null|\.\*|https?://\*|\*://\*)[\]\"']*\s*$", re.IGNORECASE)


def configured_origins(subject: Subject) -> Iterator[Row]:
    """No service is told to let every page of the web call it, unless it is public."""
    public = {item.name for item in subject.stack.services if item.public}
    if subject.stack.compose:
        public |= {subject.stack.compose.services.get(name, name) for name in public}
    told: dict[str, bool] = {}
    for item in subject.settings:
        if _CREDENTIALS.search(item.name):
            told[item.service] = told.get(item.service, False) or item.value.lower() in _YES
    for item in subject.settings:
        if _ORIGINS.search(item.name) and item.value:
            wide = any(_ANY.match(part) for part in re.split(r"[,\s]+", item.value))
            with_credentials = told.get(item.service, told.get("", False))
            yield Row(item.place, _wide(item.service in public, with_credentials) if wide else "")


def answered_origins(subject: Subject) -> Iterator[Row]:
    """No service answers a foreign page as if it were its own."""
    if subject.live is None:
        return
    for service in subject.live.services:
        for answer in subject.live.ask_as_page(service, FOREIGN):
            place = f"{service.name} {answer.method} {answer.path}"
            if answer.headers is None:
                yield Row(place, unseen=f"no answer: {answer.error}")
            else:
                yield Row(place, judge_answer(answer.headers, FOREIGN, public=service.public))


def judge_answer(headers: Mapping[str, str], origin: str, *, public: bool) -> str:
    """What is wrong with the CORS headers of an answer to a foreign page."""
    found = {name.lower(): value.strip() for name, value in headers.items()}
    allowed = found.get(ALLOW_ORIGIN, "")
    credentials = found.get(ALLOW_CREDENTIALS, "").lower() == "true"
    if allowed.lower() == origin or (allowed == "null" and credentials):
        return "it lets any page in (the Origin is given back): list the pages that may call it"
    return _wide(public, credentials) if allowed in {"*", "null"} else ""


def _wide(public: bool, credentials: bool) -> str:  # noqa: FBT001 - two facts
    if credentials:
        return "every page may call it with the user's credentials: list the pages that may"
    if not public:
        return (
            "every page may call it and it is not public: list the pages that may, or set "
            "`public: true` for the service in the stack file"
        )
    return ""


CHECKS = (
    Check("cors-configured", "K1", configured_origins, "no variable speaks of origins (CORS)"),
    Check("cors-answered", "K1", answered_origins, "the system does not run", needed=True),
)
