"""What a value looks like: a placeholder, a reference, an identifier, a password, random text."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from itertools import pairwise
from urllib.parse import unquote

from secret_scan.words import words

# Values are bounded by their rules (and cut below): what is tried on them can't run away.
LONGEST_JUDGED = 512
_SALT_LETTERS = 40
_FEW_LETTERS = 3  # of different kinds: xyxyxy
# Random text, by measure: bits a byte, and how often the kind of letter changes.
_RANDOM_SHORTEST, _RANDOM_BITS, _RANDOM_HEX_BITS = 12, 3.0, 2.7
_CHANGES, _CHANGES_OF_LETTERS, _WORD_LETTERS = 0.26, 0.42, 3.0
_FEW_DIGITS = 8  # one of so many letters: "OAuth2AuthSetting"
_ALPHABETIC = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PLACEHOLDER = re.compile(
    r"example|ch[a4]n[g6][e3].?(?:m[e3]|it|this)|place.?holder|your[_ .-]"
    r"|_your|-test-|your(?:pass|secret|api|access)"
    r"|your(?:key|token)|dummy|redacted|x{5,}|\*{3,}|<[^>]*>|\.\.\.|\bto.?do\b|fix.?me|masked"
    r"|insert.?|replace.?(?:me|this|with)|not.?(?:a.?)?real"
    r"|some.?(?:secret|password|token|key|base64)"
    r"|abcdef|12345678|0{8}|foo.?bar|fake|sample"
    r"|enter.?(?:your|a|the)|[-_]here\b|goes.?here|sanitized|scrubbed|censored|obfuscated"
    r"|some.?random|random.?(?:string|chars|text|value)|string.?of"
    r"|(?<![0-9%])[0-9]{2}.?(?:chars|bytes?|letters|characters)"
    r"|undefined|deadbeef|invalid|wrong|incorrect|lorem|asdf",
    re.IGNORECASE,
)
# Forms that chance makes, or that a name before the secret has: what is beside them decides.
_WEAK_PLACEHOLDER = re.compile(
    r"(?:my|the).?(?:secret|password|token|key|api)|\w\.\.\w", re.IGNORECASE
)
# In a token chance makes short words: only long ones count there.
_TOKEN_PLACEHOLDER = re.compile(
    r"example|change.?me|placeholder|redacted|x{8}|\*{3,}|your[_-]|dummy|\.\.\.|sanitized|0{12}"
    r"|(?:12345678|abcdefgh).{0,4}(?:90|ij)",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"^[<{(]|^[$@&*~#][A-Za-z_{(]+$|^[$@][A-Za-z_{(]|^%\w+%?$|^!\w|#\{|\$\{|\{\{|<%|%\(|%s"
    r"|%[sdvq]$|\{[\w.!:]{0,40}\}|\$\(|process\.env|os\.environ|getenv|secrets\.|\(\)|;$|://"
    r"|^(?:enc|vault|ref|arn|env|file|kms|ssm|sm|op|data|urn|https?|keyring|secretref|sops|aws|npm|workspace|patch)[:\[(+]"
    r"|^sha(?:1|256|384|512)[:-]|\\[nrtux]|^0x[0-9a-fA-F]+$|^AQICA|^\{cipher\}"
    r"|aws4_request|^//|^%env\("
    # Code behind a text that ends in the name ("split('token=')[1]"), the rest of a longer text.
    r"|^\.[$*]|^(?:host|port|dbname|user)=|^\)[\[,;.)?:&|]"
    # "Bearer " + what code has
    r"|^\s?[+.]\s?[A-Za-z_$][\w$.]*[)(;,\[]|^\+[A-Za-z_]+$"
    r"|\w\)[);,]|\s\$(?-i:[A-Z][A-Z_]{2,})"
    r"|^\[?(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}\]?(?::[0-9]+)?$"  # an address of IPv6
    r"|^eyJ(?:hbGciOi|0eXAiOi)[\w-]{0,60}\.?$"  # the head of a signed token, which says no more
    r"|^[?-][A-Z][a-z]+$"  # "${NAME:?Variable not set}"
    r"|^[A-Za-z_$][A-Za-z_.$]{2,80}\([^()]*\)"
    r"|^[\w.@+-]+\.(?:pem|key|crt|cer|der|csr|p12|pfx|jks|pub|asc|gpg|json|ya?ml|toml|ini|txt|env)$"
    r"|^LS0tLS1CRUdJT"  # "-----BEGIN" in base64: of a key the rule for private keys tells
    r"|^Ag[A-Z][A-Za-z0-9+/]{200}",  # sealed secrets and KMS: encrypted
    re.IGNORECASE,
)
# "{$name}", ":symbol", "Bearer " + what code has
_WEAK_REFERENCE = re.compile(r"\{\$\w|^::?[a-z_]|^\+\w+\.[A-Za-z_]\w+$", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z_$]*(?:[.:>/-]{1,2}[A-Za-z_$]+)*[!?]?")
_DOTTED = re.compile(r"[A-Za-z_$][\w$-]*(?:(?:\.|::|->|/|\\)[A-Za-z_$][\w$-]*)+")
_PATH = re.compile(r"(?:\.{0,2}|[A-Za-z]:|[\w.-]+)[/\\](?:[\w.@~+ -]+[/\\])*[\w.@~+ -]*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_SEGMENT = re.compile(r"[0-9]{0,2}[A-Za-z]+[0-9]{0,3}|[A-Za-z][0-9]{1,2}[A-Za-z]|[0-9]{1,3}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]+.*)?")
_SEPARATORS = re.compile(r"[-_.:/ ]+")
_NUMBERED = re.compile(r"[A-Za-z]+(?:[-_. ][A-Za-z]+)*[-_. ]?[0-9]{1,6}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}|[A-Za-z0-9_-]{8,}={0,2}")


def entropy(value: bytes) -> float:
    """Shannon's entropy in bits a byte."""
    total = len(value)
    counts = Counter(value).values()
    return -sum(count / total * math.log2(count / total) for count in counts) if total else 0.0


def is_placeholder(value: str) -> bool:
    """Whether it stands for a secret to come, or for one that was taken out."""
    if len(set(value)) <= _FEW_LETTERS or _PLACEHOLDER.search(value) is not None:
        return True
    return _is_all_there_is(_WEAK_PLACEHOLDER, value)


def _is_all_there_is(form: re.Pattern[str], value: str) -> bool:
    """Whether a value has that form, and nothing beside it that a machine made."""
    found = form.search(value)
    if found is None:
        return False
    rest = value[: found.start()] + value[found.end() :]
    return not looks_random(rest if len(rest) >= _RANDOM_SHORTEST else value)


def is_token_placeholder(value: str) -> bool:
    """The same of a value whose form is a token's: chance makes short words in those."""
    few = len(set(value)) <= _FEW_LETTERS + 1
    return few or _TOKEN_PLACEHOLDER.search(value) is not None or _is_camel_case(value)


def _is_camel_case(value: str) -> bool:
    """Whether it is a name in code that happens to begin as tokens do: "nfo_ReturnsThis"."""
    has_both = not value.isupper() and not value.islower() and value.replace("_", "").isalpha()
    return has_both and _letters_a_word(value) > _WORD_LETTERS


def _letters_a_word(value: str) -> float:
    parts = _ALPHABETIC.findall(value)
    return sum(map(len, parts)) / max(1, len(parts))


def is_reference(value: str) -> bool:
    """Whether it says where the secret is, or is code that makes it."""
    told = _REFERENCE.search(value) or ("%" in value and _REFERENCE.search(unquote(value)))
    if told or _is_all_there_is(_WEAK_REFERENCE, value):
        return True
    return _PATH.fullmatch(value) is not None and not looks_random(value)


def is_identifier(value: str) -> bool:
    """Whether it is a name: of a variable, a field, a package, a locale key."""
    if _UUID.fullmatch(value):
        return False
    if _IDENTIFIER.fullmatch(value):
        return not looks_random(value)
    parts = [part for part in re.split(r"[_.:/|,=;\s-]+", value) if part]
    if len(parts) > 1 and all(map(_SEGMENT.fullmatch, parts)):
        if all(map(str.isalpha, parts)):
            return not looks_random(value)
        return value.lower() == value or value.upper() == value or _is_dotted(value)
    return _is_dotted(value)


def _is_dotted(value: str) -> bool:
    return _DOTTED.fullmatch(value) is not None and not looks_random(value)


def is_expression(value: str) -> bool:
    """Whether a value without quotes is code: an attribute, a module's function."""
    return _DOTTED.fullmatch(value) is not None


def is_common(value: str, name: str = "") -> bool:
    """Whether it is made of words that say nothing ("test-token"), or of those of its name."""
    found = [word.lower() for word in _ALPHABETIC.findall(value)]
    known = words("common_values")
    if len(found) > 1:  # "newReplicationPassword" for a replicationPassword
        known = known.union(word.lower() for word in _ALPHABETIC.findall(name))
    return bool(found) and known.issuperset(found)


def is_time(value: str) -> bool:
    """Whether it is a date or a time."""
    return _TIME.fullmatch(value) is not None


def is_uuid(value: str) -> bool:
    """Whether it is a UUID."""
    return _UUID.fullmatch(value) is not None


def is_hex(value: str) -> bool:
    """Whether it is hexadecimal."""
    return _HEX.fullmatch(value) is not None


def is_sentence(value: str) -> bool:
    """Whether it is text for people."""
    if not value.isascii() and sum(letter > "\x7f" for letter in value) * 3 > len(value):
        return True  # other scripts need no blanks
    if " " not in value:
        return False
    marks = sum(not letter.isalnum() and letter != " " for letter in value)
    is_salt = len(value) >= _SALT_LETTERS and marks * 7 > len(value)  # those of WordPress
    return not is_salt


def has_classes(value: str, wanted: int) -> bool:
    """Whether `wanted` of lower case, upper case, digits and others are in it."""
    kinds = (
        any(map(str.islower, value)),
        any(map(str.isupper, value)),
        any(map(str.isdigit, value)),
        not value.isalnum(),
    )
    return sum(kinds) >= wanted


def looks_random(value: str) -> bool:
    """Whether a machine made it: the kind of letter changes often, and words are short."""
    length = len(value)
    if length < _RANDOM_SHORTEST:
        return False
    # "one-word-after-the-other" changes kinds as often as random text, were it not for this.
    kinds = [_kind(letter) for letter in _SEPARATORS.sub("", value)] or [0]
    changes = sum(one != other for one, other in pairwise(kinds))
    longest = max((len(word) for word in re.findall(r"[a-z]+|[A-Z]+", value)), default=0)
    has_digit = any(map(str.isdigit, value))
    has_few_digits = sum(map(str.isdigit, value)) * _FEW_DIGITS <= length
    if has_few_digits and _letters_a_word(value) > _WORD_LETTERS:
        return False  # camelCaseOfWords
    if is_hex(value):
        return has_digit and entropy(value.encode()) > _RANDOM_HEX_BITS
    return (
        changes / max(1, len(kinds) - 1) >= (_CHANGES if has_digit else _CHANGES_OF_LETTERS)
        and longest <= max(7, length // 4)
        and entropy(value.encode("utf-8", "replace")) >= _RANDOM_BITS
    )


def looks_chosen(value: str) -> bool:
    """Whether a person chose it as a password: letters and digits, with some variety."""
    digits, letters = sum(map(str.isdigit, value)), sum(map(str.isalpha, value))
    special = any(letter in "!@#$%^&*?+=~()|;,<>" for letter in value)
    if not letters or not (digits or special):
        return False
    return digits >= 3 or (special and digits > 0) or has_classes(value, 3)  # noqa: PLR2004


def is_numbered(value: str) -> bool:
    """Whether it is words with a number behind them, as tests call their objects: "Blue-1"."""
    return _NUMBERED.fullmatch(value) is not None and not looks_random(value)


def decoded(value: str) -> str | None:
    """The text that base64 hides in a value, where there is some."""
    if len(value) % 4 or not _BASE64.fullmatch(value):
        return None
    try:
        text = base64.b64decode(value.replace("-", "+").replace("_", "/")).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return text.strip() if text.strip().isprintable() and text.strip() else None


def _kind(letter: str) -> int:
    if letter.islower():
        return 0
    if letter.isupper():
        return 1
    return 2 if letter.isdigit() else 3
