"""Secrets: long enough, not made up, one for each purpose (K1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from configuration.model import Check, Row
from configuration.strength import MINIMUM_LENGTH, weakness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from configuration.model import Subject
    from configuration.settings import Setting

_NONE = "no secret is known"
_CATEGORY = re.compile(r"pass|pwd|token|credential|key|secret", re.IGNORECASE)
_PASSWORDS = frozenset({"pass", "pwd", "credential"})


def secret_length(subject: Subject) -> Iterator[Row]:
    """Every secret has 32 characters or more."""
    for item in _named_by_the_file(subject):
        if not item.value:
            yield Row(item.place, "the file of the secret is missing, empty or no text: make it")
    for item in subject.secrets:
        short = len(item.value) < MINIMUM_LENGTH
        problem = (
            f"expected a secret of {MINIMUM_LENGTH} characters or more, got {len(item.value)}: "
            "make a longer one, such as `openssl rand -hex 32`"
        )
        yield Row(item.place, problem if short else "")


def secret_strength(subject: Subject) -> Iterator[Row]:
    """No secret is made of repeats, sequences or words."""
    for item in subject.secrets:
        why = weakness(item.value)
        problem = f"the secret can be guessed: {why}: make a random one"
        yield Row(item.place, problem if why else "")


def secret_reuse(subject: Subject) -> Iterator[Row]:
    """No secret serves two purposes."""
    by_value: dict[str, list[Setting]] = {}
    for item in subject.secrets:
        by_value.setdefault(item.value, []).append(item)
    for same in by_value.values():
        purposes = sorted({item.purpose for item in same})
        kinds = {_category(item.name) for item in same}
        names = sorted({item.name for item in same})
        if len(purposes) > 1 or len(kinds) > 1:
            shared = ", ".join(purposes if len(purposes) > 1 else names)
            yield Row(same[0].place, f"one secret has several purposes ({shared}): make one each")
        else:
            yield Row(same[0].place)


def _named_by_the_file(subject: Subject) -> Iterator[Setting]:
    return (item for item in subject.settings if item.secret and item.source == "secret-file")


def _category(name: str) -> str:
    """What a name says it is: a password, a token, a key. The last such word counts."""
    found = [word.lower() for word in _CATEGORY.findall(name)]
    last = found[-1] if found else ""
    return "pass" if last in _PASSWORDS else last


CHECKS = (
    Check("secret-length", "K1", secret_length, _NONE, needed=True),
    Check("secret-strength", "K1", secret_strength, _NONE, needed=True),
    Check("secret-reuse", "K1", secret_reuse, _NONE),
)
