"""Take secrets out of every text that becomes evidence; environment by allow-list only."""

from __future__ import annotations

import base64
import functools
import html
import json
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from common.cli import ConfigurationError
from evidence.redact_patterns import SECRET_NAME, SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from evidence.redact_patterns import Shape

SHORTEST_SECRET = 8
# What a reader needs to repeat a run; nothing in it names a person or opens a door.
ENVIRONMENT_ALLOW = (
    "CI",
    "GITHUB_ACTIONS",
    "GITHUB_REF",
    "GITHUB_REPOSITORY",
    "GITHUB_RUN_ID",
    "GITHUB_SHA",
    "LANG",
    "LC_ALL",
    "PYTHONHASHSEED",
    "SOURCE_DATE_EPOCH",
    "TZ",
)
_MOST_ROUNDS = 8
_MARKER = re.compile(r"(\[redacted:[a-z-]{1,32}\])")


class Redactor:
    """Replaces known secrets and well-known shapes of secrets by `[redacted:<kind>]`.

    Args:
        secrets: exact values; each is also found URL-encoded, in base64 at any
            offset, in hex, and escaped for JSON, Python or HTML.

    Source: requirements P7, G3d.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Learn the secrets that are known so far."""
        self._needles: set[str] = set()
        self._exact: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Learn one more secret; an empty one is none.

        Raises:
            ConfigurationError: 1 to 7 characters, which can't be told from other text.
        """
        if not secret:
            return
        if len(secret) < SHORTEST_SECRET:
            raise ConfigurationError(
                f"expected a secret of {SHORTEST_SECRET} characters or more, got {len(secret)}: "
                "a shorter one can't be kept out of evidence, so make it longer"
            )
        self._needles |= forms_of(secret)
        # The longest first: a form may stand inside another one.
        ordered = sorted(self._needles, key=lambda form: (-len(form), form))
        self._exact = re.compile("|".join(map(re.escape, ordered)))

    def text(self, text: str) -> str:
        """`text` without secrets; redacting twice gives the same."""
        # A replacement can bring two words together that now look like a secret. Each
        # round leaves less text outside the markers; two are the rule, the bound is for malice.
        for _ in range(_MOST_ROUNDS):
            clean = self._once(text)
            if clean == text:
                break
            text = clean
        return text

    def _once(self, text: str) -> str:
        if self._exact is not None and self._exact.search(text):
            pattern = self._exact
            text = _outside_markers(text, lambda part: pattern.sub("[redacted:secret]", part))
        lower = text.lower()
        for shape in SHAPES:
            if any(hint in lower for hint in shape.hints):
                text = _outside_markers(text, functools.partial(_apply, shape))
        return text

    def value(self, value: object) -> object:
        """A JSON value without secrets, in keys as in texts; other values stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self._member(str(key), value[key]) for key in value}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value

    def _member(self, key: str, value: object) -> object:
        clean = self.value(value)
        if not isinstance(clean, str) or not clean or not SECRET_NAME.search(key):
            return clean
        return clean if _MARKER.search(clean) else "[redacted:assignment]"


def _outside_markers(text: str, change: Callable[[str], str]) -> str:
    parts = _MARKER.split(text)
    parts[::2] = [change(part) for part in parts[::2]]
    return "".join(parts)


def _apply(shape: Shape, text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if shape.judge is not None and not shape.judge(match):
            return match[0]
        return f"{match.groupdict().get('keep') or ''}{_quote_of(match)}[redacted:{shape.kind}]"

    return shape.pattern.sub(replace, text)


def _quote_of(match: re.Match[str]) -> str:
    # What stands between `keep` and a quoted value: the quote, which stays in place.
    if not match.groupdict().get("quoted"):
        return ""
    return match.string[match.end("keep") : match.start("quoted")]


def forms_of(secret: str) -> set[str]:
    """A secret as it may stand in a text: as it is, quoted, in hex, base64, HTML or a URL."""
    raw = secret.encode("utf-8", "surrogatepass")
    encoded = {quote(raw, safe=""), quote_plus(raw), quote(raw)}
    forms = {secret, secret.strip(), raw.hex(), raw.hex().upper(), repr(secret)[1:-1]}
    forms |= encoded | {re.sub("%..", lambda part: part[0].lower(), form) for form in encoded}
    forms |= {json.dumps(secret, ensure_ascii=flag)[1:-1] for flag in (True, False)}
    forms |= {json.dumps(secret)[1:-1].replace("/", "\\/"), html.escape(secret)}
    forms |= {html.escape(secret).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")}
    for offset in range(3):
        forms |= _base64_core(raw, offset)
    return {form for form in forms if len(form) >= SHORTEST_SECRET}


def _base64_core(raw: bytes, offset: int) -> set[str]:
    # The characters that stay the same whatever stands before and behind the secret.
    encoded = base64.b64encode(b"\0" * offset + raw)
    first = (offset * 8 + 5) // 6
    last = (offset + len(raw)) * 8 // 6
    core = encoded[first:last].decode()
    return {core, core.replace("+", "-").replace("/", "_")}


def environment(
    allow: Sequence[str] = ENVIRONMENT_ALLOW, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment variables that may enter evidence: those named, where they are set."""
    source = os.environ if environ is None else environ
    return {name: source[name] for name in sorted(set(allow)) if name in source}
