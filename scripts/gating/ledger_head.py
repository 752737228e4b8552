"""The signed head of a ledger: its file, what is signed, and who signed it; no I/O."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, ScriptError
from common.documents import parse_json
from evidence.files import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evidence.public_key import PublicKey

_SHA256 = re.compile(r"[0-9a-f]{64}")


class LedgerError(ScriptError):
    """A ledger that is not the one that was signed: nothing in it counts."""


@dataclass(frozen=True)
class Head:
    """The signed end of the chain: how many lines, and the hash of the last."""

    seq: int
    sha256: str
    keyid: str
    signature: bytes

    def as_json(self) -> dict[str, Any]:
        """The content of `ledger.head.json`."""
        signature = base64.b64encode(self.signature).decode("ascii")
        return {
            "seq": self.seq,
            "head_sha256": self.sha256,
            "keyid": self.keyid,
            "signature": signature,
        }


def statement(seq: int, sha256: str) -> bytes:
    """What is signed: text that is no manifest and no attestation, and that openssl can check."""
    return f"proof-pack ledger head 1\nseq {seq}\nsha256 {sha256}\n".encode("ascii")


def render(value: Mapping[str, Any]) -> bytes:
    """One line of JSON, the same bytes for the same value."""
    return json.dumps(value, allow_nan=False).encode("ascii") + b"\n"


def render_pending(head: Head, line: bytes) -> bytes:
    """The content of `ledger.pending.json`."""
    return render(head.as_json() | {"line": line.decode("ascii")})


def parse_head(data: bytes, name: str, more: tuple[str, ...] = ()) -> tuple[Head, dict[str, Any]]:
    """A head, and the other members that its file must have.

    Args:
        data: the whole file; only the very bytes that `render` makes are taken.
        name: for messages.
        more: names of texts that it has besides.

    Raises:
        LedgerError: cut, edited, or not a head.
    """
    try:
        value = parse_json(data, name)
    except ConfigurationError as problem:
        raise LedgerError(f"{problem}: expected a signed head, got a cut or edited one") from None
    wanted = {"seq": int, "head_sha256": str, "keyid": str, "signature": str}
    wanted |= dict.fromkeys(more, str)
    good = isinstance(value, dict) and all(type(value.get(key)) is wanted[key] for key in wanted)
    if not good or list(value) != list(wanted) or render(value) != data:
        raise LedgerError(
            f"{name}: expected one line with {', '.join(wanted)}, got {shown(data[:80])}"
        )
    try:
        signature = base64.b64decode(value["signature"], validate=True)
    except ValueError:  # also where it is not ASCII
        raise LedgerError(f"{name}: expected a signature in base64, got another text") from None
    if value["seq"] < 1 or not _SHA256.fullmatch(value["head_sha256"]):
        raise LedgerError(f"{name}: expected a seq from 1 on and a SHA-256, got others")
    return Head(value["seq"], value["head_sha256"], value["keyid"], signature), value


def check_signature(head: Head, key: PublicKey, name: str) -> None:
    """Hold a head against the key that the reader brings.

    Raises:
        LedgerError: another key's, or no signature of these figures.
    """
    if head.keyid != key.keyid:
        raise LedgerError(
            f"{name}: expected a head signed by key {key.keyid[:16]}, got one of key "
            f"{shown(head.keyid[:16])}: give the --key that this ledger was begun with"
        )
    if not key.accepts(head.signature, statement(head.seq, head.sha256)):
        raise LedgerError(
            f"{name}: expected a signature of key {key.keyid[:16]} on seq {head.seq} and "
            f"{head.sha256}, got one that does not fit: the head was changed or forged"
        )
