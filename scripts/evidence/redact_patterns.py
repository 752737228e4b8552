"""Well-known shapes of secrets; every pattern takes time linear in the text.

How linear is kept: a run of characters is entered only at its start (lookbehind) or
through an atomic group, and is taken possessively (`++`), so nothing is read twice.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Shape:
    """One shape of secret.

    Args:
        kind: the word in `[redacted:<kind>]`.
        pattern: what to look for; the group `keep`, where there is one, stays in the text.
        hints: lower-case words; a text with none of them can't match.
        judge: a last look at the match, where the pattern alone is too broad.
    """

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...]
    judge: Callable[[re.Match[str]], bool] | None = None


def _is_basic(match: re.Match[str]) -> bool:
    # "Basic authentication" is prose; user:password in base64 is not.
    text = match["value"]
    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_")
    except binascii.Error:
        return False


def _is_secret_value(match: re.Match[str]) -> bool:
    value = match["quoted"] or match["bare"]
    if value.lower() in {"null", "none", "true", "false", "undefined"}:
        return False
    if match["name"].lower() != "token":
        return True
    # "12 tokens: 12" are a model's figures and "unexpected token: comma" is prose.
    if value.replace(".", "", 1).isdigit():
        return False
    return bool(match["quoted"]) or len(value) >= 16 or any(map(str.isdigit, value))  # noqa: PLR2004 - longer than prose


def _is_url_token(match: re.Match[str]) -> bool:
    # A user's name before a password is short, and it is no secret before @ either,
    # but for http a user alone is always a token.
    if match["password"] is not None or len(match["user"]) >= 20:  # noqa: PLR2004 - longer than names
        return len(match["user"]) >= 20  # noqa: PLR2004 - same
    return (
        match.string[max(0, match.start() - 5) : match.start()].lower().endswith(("http", "https"))
    )


def _is_random(match: re.Match[str]) -> bool:
    # "sk-" may begin a name made of words; a random key has a digit or a capital letter.
    return any(letter.isdigit() or letter.isupper() for letter in match[0])


# A tokenizer, and tiktoken, are no tokens.
_NAMES = (
    "password|passwd|passphrase|pwd|secret|(?<!tik)token(?!i[sz])|api[_-]?key|apikey|private[_-]?key|"
    "access[_-]?key|account[_-]?key|credentials?|(?<=[A-Za-z0-9]_)pass(?![A-Za-z0-9])"
)
_SCHEME = r"(?:bearer|basic|digest|token|apikey|negotiate)[ \t]"
_ASSIGNMENT = (
    rf"(?P<keep>(?P<name>{_NAMES})[A-Za-z0-9_]{{0,32}}(?:\\{{0,3}}[\"'])?"
    r"[ \t]{0,4}(?:=>|[:=])[ \t]{0,4})"
    rf"(?:\\{{0,3}}[\"'](?P<quoted>[^\"'\\\r\n]{{4,}}+)|(?P<bare>(?!{_SCHEME})[^\s\"',;&<>\[\](){{}}\\]{{4,}}+))"
)

SHAPES = (
    Shape(
        "private-key",
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----"
            r"(?:[^-]|-(?!----))*+(?:-----END [A-Z0-9 ]{0,60}-----)?"
        ),
        ("private key",),
    ),
    # Before all that could take a part out of it: a header's value is taken as one.
    Shape(
        "cookie",
        re.compile(
            r"(?i)(?<![A-Za-z0-9])(?P<keep>(?:set-)?cookie\\{0,3}[\"']?[ \t]{0,4}[:=,][ \t]{0,4}"
            r"(?:b?\\{0,3}[\"'])?)(?=[^\s=;,\"'\\]{1,128}=)"
            r"(?:[^\r\n\"'\\<>]|(?<==)\\{0,3}\"[^\r\n\"\\]*+\\{0,3}\"?)++"
        ),
        ("cookie",),
    ),
    Shape(
        "jwt",
        re.compile(
            r"(?<![A-Za-z0-9_-])(?P<keep>(?>[A-Za-z0-9_-]*?(?=eyJ)))"
            r"eyJ[A-Za-z0-9_-]{5,}+(?:\.[A-Za-z0-9_-]*+){2,4}"
        ),
        ("eyj",),
    ),
    Shape(
        "authorization",
        re.compile(
            r"(?i)(?P<keep>authorization\\{0,3}[\"']?[ \t]{0,4}[:=][ \t]{0,4}\\{0,3}[\"']?"
            r"(?:(?:bearer|basic|digest|token|apikey|negotiate)[ \t]{1,8})?)"
            rf"(?!{_SCHEME})[^\s\"',;<>\[\]\\]{{4,}}+"
        ),
        ("authorization",),
    ),
    Shape(
        "bearer",
        re.compile(r"(?i)(?<![A-Za-z0-9])(?P<keep>bearer[ \t]{1,8})[A-Za-z0-9._~+/-]{8,}+={0,2}"),
        ("bearer",),
    ),
    Shape(
        "basic",
        re.compile(
            r"(?i)(?<![A-Za-z0-9])(?P<keep>basic[ \t]{1,8})(?P<value>[A-Za-z0-9+/_-]{8,}+)={0,2}"
        ),
        ("basic",),
        _is_basic,
    ),
    Shape(
        "url-token",
        re.compile(
            r"(?P<keep>://)(?P<user>[^\s/@:\"'<>]{8,512}+)"
            r"(?P<password>:[^\s/\"'<>]{0,512})?(?=@)"
        ),
        ("://",),
        _is_url_token,
    ),
    Shape(
        "url-password",
        re.compile(r"(?P<keep>://[^\s/@:\"'<>]{0,256}:)[^\s/\"'<>]{1,512}(?=@)"),
        ("://",),
    ),
    Shape(
        "aws-key",
        re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])"),
        ("akia", "asia", "abia", "acca"),
    ),
    Shape(
        "github-token",
        re.compile(r"gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{22,255}"),
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    Shape(
        "gitlab-token",
        re.compile(r"(?<![A-Za-z0-9])gl(?:pat|[a-z]{2,5})-[A-Za-z0-9_.-]{16,}+"),
        tuple(f"gl{kind}-" for kind in ("pat", "dt", "rt", "cbt", "ptt", "ft", "oas", "soat")),
        _is_random,
    ),
    Shape("npm-token", re.compile(r"npm_[A-Za-z0-9]{30,}+"), ("npm_",)),
    Shape(
        "model-key",
        re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}+"),
        ("sk-",),
        _is_random,
    ),
    Shape(
        "signed-url",
        re.compile(
            r"(?i)(?P<keep>(?:(?:[?&;]|\\u0026)(?:sig|signature)|"
            r"(?<![A-Za-z0-9_-])x-(?:amz|goog)-signature)=)[^\s&\"'<>#\\]{8,}+"
        ),
        ("sig=", "signature="),
    ),
    Shape(
        "slack-token",
        re.compile(
            r"xox[abeoprs](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}+|xapp-[A-Za-z0-9-]{10,}+|"
            r"(?P<keep>hooks\.slack\.com/(?:services|workflows)/)[A-Za-z0-9/_-]{10,}+"
        ),
        ("xox", "xapp-", "hooks.slack.com"),
    ),
    Shape(
        "google-key",
        re.compile(r"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}+|GOCSPX-[A-Za-z0-9_-]{28}"),
        ("aiza", "ya29.", "gocspx-"),
    ),
    Shape(
        "stripe-key",
        re.compile(r"[rsp]k_(?:live|test)_[A-Za-z0-9]{10,}+|whsec_[A-Za-z0-9+/]{20,}+"),
        ("k_live_", "k_test_", "whsec_"),
    ),
    Shape(
        "assignment",
        re.compile(rf"(?i){_ASSIGNMENT}"),
        ("pass", "pwd", "secret", "token", "key", "credential"),
        _is_secret_value,
    ),
)
SECRET_NAME = re.compile(rf"(?i)(?:(?:{_NAMES}|authorization)[A-Za-z0-9_]{{0,32}}|cookie)\Z")
