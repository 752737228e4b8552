"""Comments beside a secret that say it is none; they are counted, and can be ignored."""

from __future__ import annotations

_SAME_LINE = (b"gitleaks:allow", b"pragma: allowlist secret", b"pragma:allowlist secret")
_NEXT_LINE = (b"pragma: allowlist nextline secret", b"pragma:allowlist nextline secret")
_NEXT_LINE_END = b"\n"


def is_allowed_inline(text: bytes, start: int, end: int) -> bool:
    """Whether a comment on the lines `start` to `end`, or on the one before, allows them."""
    lines = text[start:end].lower()
    if any(mark in lines for mark in _SAME_LINE):
        return True
    previous_start = text.rfind(_NEXT_LINE_END, 0, max(0, start - 1)) + 1
    previous = text[previous_start:start].lower()
    return any(mark in previous for mark in _NEXT_LINE)
