"""Is a match a secret? Entropy, allowlists, and by tag what name, value and place say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secret_scan.names import judge_name
from secret_scan.values import (
    LONGEST_JUDGED,
    decoded,
    entropy,
    has_classes,
    is_common,
    is_expression,
    is_hex,
    is_identifier,
    is_numbered,
    is_placeholder,
    is_reference,
    is_sentence,
    is_time,
    is_token_placeholder,
    is_uuid,
    looks_chosen,
    looks_random,
)
from secret_scan.words import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secret_scan.engine import Match
    from secret_scan.names import Name
    from secret_scan.rules import Allowlist

_NAME_BYTES = 80
_NAME_REST = re.compile(rb"[\w.$-]*")
# How long a value has to be, by what its name promises and how it stands there.
_PASSWORD_SHORTEST, _UNQUOTED_SHORTEST, _KEY_SHORTEST = 6, 8, 16
_PASSWORD_HEX, _KEY_HEX = 8, 24
_STRUCTURE_JUDGED = 80
_TRANSLATIONS = re.compile(r"(?:^|[/!])(?:locales?|i18n|l10n|lang|translations?)(?:[/.]|$)")
ASSIGNED = "assigned-secret"
# Where a name stands whole in its rule's match.
_NAMED = {
    "xml-element-password": re.compile(rb"<([\w.:-]+)"),
    "xml-attribute-pair-password": re.compile(rb"\w+[\"']?\s*[=:]\s*[\"']([\w.:-]+)[\"']"),
}
_NAMES_OF_HEADERS = re.compile(r"(?i:authorization|cookie)")
# "hash(text, key), '5f4d…'": the name and the value belong to different things.
_CLOSED = re.compile(rb"[)\]][\"'\s]*,$")
# What asks for a variable or a setting by its name.
_LOOK_UP = re.compile(rb"(?i:env|environ|environ\.get|variable|config|property|lookup)[(\[]$")
# Behind the beginning of a key these say that the rest was left out.
_CUT = (b"...", "…".encode(), b"[...", b"<", b"*")


@dataclass(frozen=True)
class Place:
    """Where a text comes from: what allowlists and the judgement of values need to know."""

    path: str
    commit: str | None = None

    @property
    def is_code(self) -> bool:
        """Whether values without quotes are expressions there."""
        return self.path.rsplit("/", 1)[-1].rpartition(".")[2].lower() in words("code_endings")

    @property
    def is_translation(self) -> bool:
        """Whether the texts of a program stand there, in a language of people."""
        return _TRANSLATIONS.search(self.path.lower()) is not None


@dataclass(frozen=True)
class Context:
    """What surrounds a match: the text, where its lines begin and end in it, the place."""

    text: bytes
    line: tuple[int, int]
    place: Place


def is_secret(match: Match, context: Context) -> bool:
    """Whether nothing speaks against a match."""
    rule, secret = match.rule, context.text[match.secret_start : match.secret_end]
    if not secret or (rule.entropy and entropy(secret) <= rule.entropy):
        return False
    if any(allows(one, match, context) for one in rule.allowlists):
        return False
    value = secret[:LONGEST_JUDGED].decode("utf-8", "replace").strip()
    if "password" in rule.tags:
        return _is_password(match, context, value)
    if "token" in rule.tags:
        return not is_token_placeholder(value)
    if "structure" in rule.tags:
        behind = context.text[match.end : match.end + _STRUCTURE_JUDGED].lstrip()
        return not is_placeholder(value[:_STRUCTURE_JUDGED]) and not behind.startswith(_CUT)
    return True


def allows(allowlist: Allowlist, match: Match, context: Context) -> bool:
    """Whether an allowlist passes over a match."""
    if allowlist.rules and match.rule.id not in allowlist.rules:
        return False
    answers = list(_answers(allowlist, match, context))
    return all(answers) if allowlist.condition == "AND" else any(answers)


def _answers(allowlist: Allowlist, match: Match, context: Context) -> Iterator[bool]:
    text, place = context.text, context.place
    secret = text[match.secret_start : match.secret_end]
    if allowlist.commits:
        yield (place.commit or "") in allowlist.commits
    if allowlist.paths:
        path = place.path.encode("utf-8", "surrogateescape")
        yield any(pattern.search(path) for pattern in allowlist.paths)
    if allowlist.regexes:
        match_text, line = text[match.start : match.end], text[slice(*context.line)]
        target = {"secret": secret, "match": match_text, "line": line}[allowlist.regex_target]
        yield any(pattern.search(target) for pattern in allowlist.regexes)
    if allowlist.stopwords:
        yield any(word in secret.lower() for word in allowlist.stopwords)


def _is_password(match: Match, context: Context, value: str) -> bool:
    called = _name_of(match, context.text) if match.rule.id == ASSIGNED else ""
    if match.rule.id == ASSIGNED and not judge_name(called).is_secret:
        return False  # the cheapest answer, and the most frequent one
    if is_placeholder(value) or is_reference(value) or is_sentence(value):
        return False
    hidden = decoded(value)
    if hidden is not None and _is_nothing(hidden.rpartition(":")[2]):
        return False
    if is_common(value) or is_identifier(value):
        return False
    if match.rule.id == ASSIGNED:
        return _is_assigned(match, context, value, called)
    name = (
        _NAMED[match.rule.id].match(context.text, match.start) if match.rule.id in _NAMED else None
    )
    return name is None or _promises(name[1].decode("latin-1"))


def _promises(name: str) -> bool:
    return judge_name(name).is_secret or _NAMES_OF_HEADERS.search(name) is not None


def _is_nothing(value: str) -> bool:
    unsaid = is_placeholder(value) or is_reference(value)
    return unsaid or is_common(value) or is_identifier(value)


def _is_assigned(match: Match, context: Context, value: str, called: str) -> bool:
    text, name = context.text, judge_name(called)
    before = text[match.start : match.secret_start].rstrip()
    opening = before.rstrip(b"\"'`\\").rstrip()[-_NAME_BYTES:]
    quoted = before.endswith((b'"', b"'", b"`"))
    shortest = _PASSWORD_SHORTEST if quoted else _UNQUOTED_SHORTEST
    if len(value) < shortest or is_uuid(value) or is_time(value):
        return False
    if is_common(value, called) or _LOOK_UP.search(opening) or _CLOSED.search(opening):
        return False
    is_argument = opening.endswith((b"(", b","))
    is_bare_code = context.place.is_code and not quoted
    if is_bare_code and text[match.secret_end : match.secret_end + 1] == b"(":
        return False  # a call
    if not name.is_sure or is_argument or is_bare_code:
        is_code = is_bare_code and is_expression(value)
        is_digest = is_argument and is_hex(value)  # "hash('password'), '5f4d…'"
        return _is_long_random(value) and not is_code and not is_digest
    return _fits(name, value, is_translation=context.place.is_translation)


def _is_long_random(value: str) -> bool:
    return looks_random(value) and has_classes(value, 2) and len(value) >= _KEY_SHORTEST


def _fits(name: Name, value: str, *, is_translation: bool) -> bool:
    """Whether the value is one that such a name has."""
    random = looks_random(value)
    if is_hex(value):
        return random and len(value) >= (_PASSWORD_HEX if name.is_password else _KEY_HEX)
    is_object = name.is_token and is_numbered(value)
    return random or (looks_chosen(value) and not is_object and not is_translation)


def _name_of(match: Match, text: bytes) -> str:
    """The whole name, of which the rule's expression saw the end or the middle."""
    context = text[max(0, match.start - _NAME_BYTES) : match.start]
    # Backwards from the match: a search for what reaches to the end would try every place.
    head = _NAME_REST.match(context[::-1])
    tail = _NAME_REST.match(text[match.start : match.start + _NAME_BYTES])
    start = len(context) - (head.end() if head else 0)
    rest = tail[0] if tail else b""
    behind = text[match.start + len(rest) :][:1]
    if context[start - 1 : start] in {b"=", b"?"} and behind in {b'"', b"'"}:
        return ""  # "…label=token": the end of a text, not a name
    return (context[start:] + rest).decode("latin-1")
