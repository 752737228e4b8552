"""Does a name say that its value is a secret? Words before and behind the decisive one count."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from secret_scan.words import words

# Names are short and cut out of a line: what is tried on them can't run away.
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_PASSWORD_ENDINGS = ("password", "passwd", "passphrase", "pwd")
_ENDINGS = (*_PASSWORD_ENDINGS, "secret", "token", "apikey")
_KEYS = frozenset({"key", "salt"})
_MOST_WORDS_BEHIND = 2  # "…_token_for_ci"


@dataclass(frozen=True)
class Name:
    """What a name promises.

    Args:
        is_secret: whether its value may be a secret at all.
        is_password: whether people choose such values themselves.
        is_token: whether machines make such values.
        is_sure: whether the name says so beyond doubt, not only "some key".
    """

    is_secret: bool
    is_password: bool = False
    is_token: bool = False
    is_sure: bool = False


NO_SECRET = Name(is_secret=False)


@functools.lru_cache(maxsize=4096)
def judge_name(text: str) -> Name:
    """What the name of a value promises; the last decisive word decides."""
    parts = [part.lower() for part in _WORDS.findall(text)]
    decisive = [at for at in range(len(parts)) if _decides(parts, at)]
    if not decisive:
        return NO_SECRET
    at = decisive[-1]
    before, behind = parts[:at], [part for part in parts[at + 1 :] if not part.isdigit()]
    if words("about").intersection(behind) or words("other_things").intersection(before[-2:]):
        return NO_SECRET
    if parts[at] in _KEYS:
        last = before[-1]
        if last in words("never_before_key"):
            return NO_SECRET
        return Name(is_secret=True, is_sure=last in words("before_key") and not behind)
    return Name(
        is_secret=True,
        is_password=_is_password(parts[at]),
        is_token=parts[at].endswith("token"),
        is_sure=len(behind) <= _MOST_WORDS_BEHIND,
    )


def _is_password(part: str) -> bool:
    return part in words("password_names") or part.endswith(_PASSWORD_ENDINGS)


def _decides(parts: list[str], at: int) -> bool:
    part = parts[at]
    if part in _KEYS:
        return at > 0
    if part == "pat":
        return at == len(parts) - 1 and at > 0
    named = words("password_names") | words("secret_names")
    return part in named or part.endswith(_ENDINGS)
