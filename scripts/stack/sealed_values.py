"""Values that have to lie on a disk: AES-256-GCM, with the key in the user's configuration folder.

Used where there is no file system in memory (macOS, Windows). The state folder alone, or a
copy of it, then opens nothing (G3d).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError
from common.documents import parse_json
from common.folders import configuration_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "proof-pack-sealed/1"
KEY_FILE = "sealed-values.key"
_KEY_BYTES, _NONCE_BYTES = 32, 12


def seal_values(values: Mapping[str, str]) -> bytes:
    """The values as a JSON document that only the key opens.

    Source: NIST SP 800-38D; a nonce is random and used once.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE_BYTES)
    plain = json.dumps(dict(values)).encode()
    sealed = AESGCM(_key()).encrypt(nonce, plain, FORMAT.encode())
    return json.dumps({"format": FORMAT, "nonce": _text(nonce), "sealed": _text(sealed)}).encode()


def open_values(data: bytes, name: str) -> dict[str, str]:
    """What `seal_values` was given.

    Raises:
        ConfigurationError: changed, of another format, or sealed with another key.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    value = parse_json(data, name)
    if not is_sealed(value):
        raise ConfigurationError(f"{name}: expected a document of {FORMAT}, got another one")
    nonce, sealed = (base64.b64decode(value[part]) for part in ("nonce", "sealed"))
    try:
        plain = AESGCM(_key()).decrypt(nonce, sealed, FORMAT.encode())
    except (InvalidTag, ValueError) as problem:
        raise ConfigurationError(
            f"{name}: {configuration_folder() / KEY_FILE} does not open it: it was changed, or "
            "sealed with another key: start the stack again"
        ) from problem
    return {str(key): str(text) for key, text in parse_json(plain, name).items()}


def is_sealed(value: Any) -> bool:  # noqa: ANN401 - the JSON edge
    """Whether a JSON value is a whole document of our format: nothing else beside it."""
    if not isinstance(value, dict) or set(value) != {"format", "nonce", "sealed"}:
        return False
    if value["format"] != FORMAT:
        return False
    with contextlib.suppress(ValueError, TypeError):
        nonce, sealed = (base64.b64decode(value[part], validate=True) for part in _PARTS)
        return len(nonce) == _NONCE_BYTES and len(sealed) >= _TAG_BYTES
    return False


_PARTS = ("nonce", "sealed")
_TAG_BYTES = 16


def _key() -> bytes:
    """The user's key, made on first use (mode 0600)."""
    path = configuration_folder() / KEY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        _make(path)
    key = base64.b64decode(path.read_bytes())
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(f"{path}: expected a key of {_KEY_BYTES} bytes: remove it")
    return key


def _make(path: Path) -> None:
    """Whole or not at all: two commands may need it at the same moment."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)))
        if path.exists():
            raise FileExistsError(path)
        _link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _link(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except (NotImplementedError, PermissionError):  # a file system without hard links
        draft.replace(path)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
