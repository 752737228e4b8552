"""One level of base64 and hex: text that hides in text, found by the form of encoded ASCII."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from secret_scan.patterns import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator


# Each four characters of base64 are three printable bytes only if they come from these sets,
# each two of hex one: chance gives six such groups once in ten million places.
_GROUP = "[I-Za-f][C-HS-Xi-ny-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
_BASE64 = f"(?:{_GROUP}){{6}}[A-Za-z0-9+/_-]*={{0,2}}"
_HEX = "(?:[2-7][0-9a-fA-F]){16,}"
_SHORTEST_BYTES = 12


ENCODED = Pattern(f"({_BASE64})|({_HEX})")


def encoded_texts(text: bytes) -> Iterator[tuple[str, int, int, bytes]]:
    """Each piece of encoded text: "base64" or "hex", where it stands, what it says.

    Only what is printable is a text; a piece is never longer than `text`.
    """
    for spans in ENCODED.spans(text):
        start, end = spans[0]
        encoded = text[start:end]
        kind = "hex" if spans[2][0] >= 0 else "base64"
        plain = _from_hex(encoded) if kind == "hex" else _from_base64(encoded)
        if kind == "base64" and plain is None and (plain := _from_hex(encoded)) is not None:
            kind = "hex"
        if plain is not None and len(plain) >= _SHORTEST_BYTES:
            yield kind, start, end, plain


def _from_base64(encoded: bytes) -> bytes | None:
    letters = encoded.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    letters = letters[: len(letters) // 4 * 4 + (len(letters) % 4 if len(letters) % 4 > 1 else 0)]
    try:
        plain = base64.b64decode(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return None
    return plain if _is_text(plain) else None


def _from_hex(encoded: bytes) -> bytes | None:
    try:
        plain = bytes.fromhex(encoded[: len(encoded) // 2 * 2].decode("ascii"))
    except ValueError:
        return None
    return plain if _is_text(plain) else None


_CONTROLS = bytes(set(range(32)) - {9, 10, 13}) + b"\x7f"


def _is_text(plain: bytes) -> bool:
    return not plain.translate(None, delete=_TEXT) if len(plain) < 256 else _mostly(plain)  # noqa: PLR2004


_TEXT = bytes([9, 10, 13, *range(32, 127)])


def _mostly(plain: bytes) -> bool:
    # A longer one may hold letters beyond ASCII, but no control characters.
    return len(plain.translate(None, delete=_CONTROLS)) == len(plain)
