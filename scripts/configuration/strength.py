"""How hard a secret is to guess: its length, repeats, sequences, words that people use."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter

MINIMUM_LENGTH = 32
MINIMUM_BITS = 80
_MINIMUM_REST = 20
_MOST_STEPS = 0.6
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORDS = (
    *("password", "passwort", "passwd", "passphrase", "secret", "token", "changeme", "change"),
    *("example", "sample", "default", "placeholder", "replace", "insert", "dummy", "fake"),
    *("admin", "administrator", "root", "user", "guest", "login", "test", "testing", "demo"),
    *("welcome", "letmein", "hello", "world", "foobar", "supersecret", "super", "your", "here"),
    *("please", "todo", "fixme", "temp", "temporary", "insecure", "unsafe", "prod", "production"),
    *("staging", "development", "local", "localhost", "database", "postgres", "mysql", "redis"),
    *("master", "private", "public", "value", "string", "random", "long", "very", "this", "must"),
    *("qwerty", "iloveyou", "monkey", "dragon", "sunshine", "football", "baseball", "trustno"),
    *("key", "api", "dev", "not", "for", "the", "with", "characters", "minimum", "at", "least"),
)
_WORD = re.compile("|".join(sorted(map(re.escape, _WORDS), key=len, reverse=True)))
_LEET = str.maketrans("013457@$!", "oieastasi")


def weakness(value: str) -> str:
    """Why a secret is easy to guess, without saying what it is; "" where it is not.

    Source: requirement K1. The figures are floors for values that people make up: 32
    random hex digits have about 116 bits by this count, and never repeat a block.
    """
    if len(set(value)) == 1:
        return "it is one character, repeated"
    if (block := _period(value)) <= len(value) // 2:
        return f"it repeats a block of {block} characters"
    if _steps(value) > _MOST_STEPS:
        return "it is a sequence of neighbouring characters"
    rest = _without_words(value)
    if rest < min(_MINIMUM_REST, len(value)):
        return f"it is made of words: without them {rest} of {len(value)} characters are left"
    bits = _bits(value)
    if bits < MINIMUM_BITS:
        return f"expected about {MINIMUM_BITS} bits by its characters, got {bits:.0f}"
    return ""


def _period(value: str) -> int:
    """The length of the shortest block whose repetition the value is.

    A value is a rotation of itself by exactly its periods (Fine and Wilf); a last block may
    be cut short.
    """
    for length in range(1, len(value) // 2 + 1):
        if all(value[at] == value[at - length] for at in range(length, len(value))):
            return length
    return len(value)


def _steps(value: str) -> float:
    """Which part of the neighbouring pairs are steps of -1, 0 or 1, or neighbours on a keyboard."""
    pairs = [*itertools.pairwise(value.lower())]
    near = sum(abs(ord(one) - ord(two)) <= 1 or _on_a_row(one + two) for one, two in pairs)
    return near / max(1, len(pairs))


def _on_a_row(pair: str) -> bool:
    return any(pair in row or pair[::-1] in row for row in _ROWS)


def _without_words(value: str) -> int:
    """How many letters and digits are left without common words, also in leet."""
    plain = re.sub(r"[^a-z0-9]", "", value.lower())
    leet = re.sub(r"[^a-z0-9]", "", value.lower().translate(_LEET))
    return min(len(_WORD.sub("", plain)), len(_WORD.sub("", leet)))


def _bits(value: str) -> float:
    """Shannon's entropy of the characters, times their number."""
    counts = Counter(value)
    return -math.fsum(n * math.log2(n / len(value)) for n in counts.values())
