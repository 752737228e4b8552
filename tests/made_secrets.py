"""Secrets made up when a test runs: their forms are right, nothing opens with them."""

from __future__ import annotations

import base64
import random
import re
import string
import uuid

_ALPHABETS = {
    "an": string.ascii_letters + string.digits,
    "AN": string.ascii_uppercase + string.digits,
    "a36": string.ascii_lowercase + string.digits,
    "a2": string.ascii_lowercase + "234567",
    "b32": string.ascii_uppercase + "234567",
    "b64": string.ascii_letters + string.digits + "+/",
    "w": string.ascii_letters + string.digits + "_-",
    "hex": "0123456789abcdef",
    "l": string.ascii_letters,
    "d": string.digits,
    "x": "x",
}
_FIELD = re.compile(r"\{(uuid|basic|human|[A-Za-z0-9]+:[0-9]+)\}")


class Maker:
    """Fills templates; the same seed gives the same texts, and `made` has what stands in them."""

    def __init__(self, seed: int | str) -> None:
        """Begin a sequence."""
        self._random = random.Random(seed)  # noqa: S311 - the same texts every time
        self.made: list[str] = []

    def fill(self, template: str) -> str:
        """The template with each field replaced: `{an:36}`, `{uuid}`, `{basic}`, `{human}`."""
        return _FIELD.sub(lambda field: self._keep(self._make(field[1])), template)

    def _keep(self, text: str) -> str:
        self.made.append(text)
        return text

    def _make(self, field: str) -> str:
        if field == "uuid":
            return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        if field == "basic":
            pair = f"deploy:{self._letters('an', 18)}"
            return base64.b64encode(pair.encode()).decode()
        if field == "human":
            word = self._random.choice(("Granite", "Harbor", "Willow", "Tundra"))
            return f"{word}-{self._random.choice(('Lumen', 'Sable'))}-{self._letters('d', 4)}"
        kind, _, length = field.partition(":")
        return self._letters(kind, int(length))

    def _letters(self, kind: str, length: int) -> str:
        alphabet = _ALPHABETS[kind]
        text = "".join(self._random.choice(alphabet) for _ in range(length))
        while kind in {"an", "w", "b64", "AN", "a36"} and length > 5 and not _is_mixed(text):
            text = "".join(self._random.choice(alphabet) for _ in range(length))
        return text


def _is_mixed(text: str) -> bool:
    ends = text[0].isalnum() and text[-1].isalnum()
    return ends and any(map(str.isdigit, text)) and any(map(str.isalpha, text))
