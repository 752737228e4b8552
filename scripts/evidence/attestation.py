"""attestation.sigstore.json: a DSSE envelope around an in-toto test-result statement.

cosign and any sigstore client read it; our own verifier holds it against the summary.
Source: DSSE v1, in-toto Statement v1, https://in-toto.io/attestation/test-result/v0.1,
sigstore bundle v0.3.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from common.documents import parse_json
from evidence.files import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evidence.claims import Claims
    from evidence.keys import SigningKey
    from evidence.public_key import PublicKey

ATTESTATION = "attestation.sigstore.json"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"


class AttestationError(ScriptError):
    """An attestation that is not ours, not this key's, or says something else."""


def statement(
    claims: Claims, *, manifest_sha256: str, summary_name: str, summary_sha256: str
) -> dict[str, Any]:
    """The in-toto statement for a sealed folder.

    Its subjects are the manifest, the summary, the commit and the images that ran.
    The predicate knows no "inconclusive": whatever did not pass is FAILED.
    """
    subject: list[dict[str, Any]] = [
        {"name": "sha256_manifest.txt", "digest": {"sha256": manifest_sha256}},
        {"name": f"evidence/{summary_name}", "digest": {"sha256": summary_sha256}},
    ]
    if claims.clean_commit is not None:
        subject.append({"name": "commit", "digest": {"gitCommit": claims.clean_commit}})
    subject += [
        {"name": f"image {name}", "digest": {"sha256": digest}} for name, digest in claims.images
    ]
    named = (("contract", claims.contract_sha256), (claims.stack_name, claims.stack_sha256))
    return {
        "_type": STATEMENT_TYPE,
        "subject": subject,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": "PASSED" if claims.verdict == "passed" else "FAILED",
            "configuration": [
                {"name": name, "digest": {"sha256": digest}}
                for name, digest in named
                if name is not None and digest is not None
            ],
            "passedTests": list(claims.passed),
            "warnedTests": [],
            "failedTests": list(claims.not_passed),
        },
    }


def pre_authentication(payload: bytes) -> bytes:
    """DSSE's PAE: the bytes that are signed."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def build(payload: Mapping[str, Any], key: SigningKey) -> bytes:
    """The sigstore bundle for a statement, as bytes."""
    body = _body(payload)
    return _render(body, key.sign(pre_authentication(body)), key.public)


def _body(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()


def _render(body: bytes, signature: bytes, key: PublicKey) -> bytes:
    bundle = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": _hint(key)}},
        "dsseEnvelope": {
            "payload": base64.b64encode(body).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        },
    }
    return json.dumps(bundle, indent=2).encode() + b"\n"


def read_statement(data: bytes, key: PublicKey) -> dict[str, Any]:
    """The statement inside a bundle whose one signature is this key's.

    Raises:
        AttestationError: another shape, type or key, a signature that does not fit,
            duplicate JSON keys, other bytes than `build` writes for the same content.
    """
    bundle = _strict(data, "bundle")
    _expect_keys(bundle, {"mediaType", "verificationMaterial", "dsseEnvelope"}, "bundle")
    _expect(bundle["mediaType"], MEDIA_TYPE, "mediaType")
    envelope = bundle["dsseEnvelope"]
    _expect_keys(envelope, {"payload", "payloadType", "signatures"}, "dsseEnvelope")
    _expect(envelope["payloadType"], PAYLOAD_TYPE, "payloadType")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        got = len(signatures) if isinstance(signatures, list) else shown(signatures)
        raise AttestationError(f"signatures: expected exactly one, got {got}")
    _expect_keys(signatures[0], {"sig"}, "signature")
    expected = {"publicKey": {"hint": _hint(key)}}
    _expect(bundle["verificationMaterial"], expected, "key hint")
    body = _base64(envelope["payload"], "payload")
    signature = _base64(signatures[0]["sig"], "sig")
    if not key.accepts(signature, pre_authentication(body)):
        raise AttestationError(
            f"signature: expected one of key {key.keyid[:16]} over this statement, "
            "got one that does not fit"
        )
    payload = _strict(body, "statement")
    _expect_keys(payload, {"_type", "subject", "predicateType", "predicate"}, "statement")
    try:
        _expect_our_bytes(_body(payload), body, "statement")
    except RecursionError as problem:
        raise AttestationError(f"statement: expected a plain one, got {problem}") from problem
    _expect_our_bytes(_render(body, signature, key), data, "bundle")
    return payload


def differences(expected: object, got: object, where: str = "") -> list[str]:
    """One line "path: expected X, got Y" for each place where two JSON values differ."""
    if isinstance(expected, dict) and isinstance(got, dict):
        found = []
        for key in sorted(set(expected) | set(got)):
            inner = f"{where}.{key}".lstrip(".")
            found += differences(expected.get(key, _NOTHING), got.get(key, _NOTHING), inner)
        return found
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = enumerate(zip(expected, got, strict=True))
        return [line for at, (a, b) in pairs for line in differences(a, b, f"{where}[{at}]")]
    if type(expected) is type(got) and expected == got:
        return []
    return [f"{_plain(where)}: expected {shown(expected)}, got {shown(got)}"]


class _Nothing:
    def __str__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()


def summary_name(payload: Mapping[str, Any]) -> str | None:
    """The name of the summary file that a statement names, if it names one."""
    subjects = payload.get("subject")
    for subject in subjects if isinstance(subjects, list) else []:
        name = subject.get("name") if isinstance(subject, dict) else None
        if isinstance(name, str) and name.startswith("evidence/"):
            return name.removeprefix("evidence/")
    return None


def _plain(where: str) -> str:
    return where.encode("ascii", "backslashreplace").decode() or "statement"


def _hint(key: PublicKey) -> str:
    # What cosign writes as well: base64 of the SHA-256 of the key's DER.
    return base64.b64encode(bytes.fromhex(key.keyid)).decode()


def _strict(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = parse_json(data, name)
    except (ScriptError, ValueError) as problem:
        raise AttestationError(str(problem)) from problem
    if not isinstance(value, dict):
        raise AttestationError(f"{name}: expected an object, got {shown(value)}")
    return value


def _expect(got: object, expected: object, name: str) -> None:
    if got != expected:
        raise AttestationError(f"{name}: expected {shown(expected)}, got {shown(got)}")


def _expect_our_bytes(expected: bytes, got: bytes, name: str) -> None:
    # The envelope is not signed: what can be written in two ways could carry something.
    if expected != got:
        raise AttestationError(
            f"{name}: expected the {len(expected)} bytes that this content gets, "
            f"got {len(got)} others: written again by something else"
        )


def _expect_keys(value: object, expected: set[str], name: str) -> None:
    got = sorted(value) if isinstance(value, dict) else value
    if not isinstance(value, dict) or set(value) != expected:
        raise AttestationError(f"{name}: expected keys {sorted(expected)}, got {shown(got)}")


def _base64(text: object, name: str) -> bytes:
    try:
        data = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as problem:
        raise AttestationError(f"{name}: expected base64, got {shown(text)}") from problem
    if base64.b64encode(data).decode() != text:
        raise AttestationError(f"{name}: expected canonical base64, got {shown(text)}")
    return data
