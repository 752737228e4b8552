"""Recognise content that is encrypted at rest: by its whole shape, not by its first line alone."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from configuration.settings import is_secret_name
from stack.sealed_values import is_sealed

if TYPE_CHECKING:
    from collections.abc import Iterator

_AGE = b"age-encryption.org/v1\n"
_AGE_END = re.compile(rb"\n--- [A-Za-z0-9+/]{43}\n")
_ARMOUR = re.compile(
    rb"-----BEGIN (AGE ENCRYPTED FILE|PGP MESSAGE)-----\r?\n"
    rb"(?:(?:Version|Comment|Hash|Charset): .*\n)*[A-Za-z0-9+/=\s]+?-----END \1-----\s*"
)
_VAULT = re.compile(rb"\$ANSIBLE_VAULT;1\.[12];AES256(?:;\S+)?\r?\n[0-9a-f\s]{64,}")
_SOPS_VALUE = re.compile(
    r"ENC\[AES256_GCM,data:[A-Za-z0-9+/=]*,iv:[A-Za-z0-9+/=]+,tag:[A-Za-z0-9+/=]+,type:\w+\]"
)
_FERNET = re.compile(r"gAAAAA[A-Za-z0-9_-]{90,}={0,2}")
# First packets of an encrypted OpenPGP message (RFC 9580): a session key, in either format.
_PGP_TAGS = frozenset({0x84, 0x85, 0x86, 0x8C, 0x8D, 0xC1, 0xC3})
_SHORTEST_PGP = 64
_PGP_VERSIONS = frozenset({3, 4, 5, 6})


def encrypted_form(data: bytes) -> str:
    """How a whole file is encrypted: age, OpenPGP, Ansible Vault, sops, Fernet, our own; or ""."""
    if data.startswith(_AGE) and _AGE_END.search(data):
        return "age"
    if found := _ARMOUR.fullmatch(data):
        return "age" if found[1].startswith(b"AGE") else "OpenPGP"
    if _VAULT.fullmatch(data):
        return "Ansible Vault"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "OpenPGP" if _is_openpgp(data) else ""
    return "Fernet" if is_encrypted_value(text.strip()) else _structured(text)


def is_encrypted_value(value: str) -> bool:
    """Whether one value is encrypted: a Fernet token, or a value of sops."""
    if _SOPS_VALUE.fullmatch(value):
        return True
    if not _FERNET.fullmatch(value):
        return False
    try:
        token = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return False
    # Version, time, IV, whole AES blocks, HMAC (the Fernet specification).
    return token[0] == 0x80 and (len(token) - 57) % 16 == 0  # noqa: PLR2004


def _structured(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        value = _yaml(text)
    if is_sealed(value):
        return "sealed by Proof Pack"
    if not isinstance(value, dict) or not isinstance(value.get("sops"), dict):
        return ""
    mac = value["sops"].get("mac", "")
    leaves = [*_leaves({key: item for key, item in value.items() if key != "sops"})]
    secret = [text for name, text in leaves if is_secret_name(name)] or [text for _, text in leaves]
    whole = bool(secret) and all(_SOPS_VALUE.fullmatch(item) for item in secret)
    return "sops" if whole and _SOPS_VALUE.fullmatch(str(mac)) else ""


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - the JSON edge
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name)
    elif value not in (None, ""):
        yield name, str(value)


def _yaml(text: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text) if "sops:" in text else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _is_openpgp(data: bytes) -> bool:
    """Whether binary data begins with the packet of an encrypted message.

    Source: RFC 9580, sections 4.2 and 5.1.
    """
    if len(data) < _SHORTEST_PGP or data[0] not in _PGP_TAGS:
        return False
    if data[0] & 0x40:
        version = data[2] if data[1] < 192 else data[3]  # noqa: PLR2004 - a length of two bytes
    else:
        version = data[{0: 2, 1: 3, 2: 5}[data[0] & 3]]
    return version in _PGP_VERSIONS
