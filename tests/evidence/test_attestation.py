"""The attestation: DSSE in a sigstore bundle, one signature, the result that the summary has."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from bundles import COMMIT, SHA256, SUMMARY, make_bundle, make_key, read_payload

from common.hashing import sha256_file
from common.schema import validator
from evidence import attestation
from evidence.attestation import (
    ATTESTATION,
    AttestationError,
    differences,
    pre_authentication,
    read_statement,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundles import KeyPair

    from evidence.public_key import Algorithm

ALGORITHMS: tuple[Algorithm, ...] = ("ecdsa-p256", "ed25519")


@pytest.fixture(params=ALGORITHMS)
def key(request: pytest.FixtureRequest, tmp_path: Path) -> KeyPair:
    return make_key(tmp_path / "keys", "key", request.param)


def test_pre_authentication_encoding_is_that_of_dsse() -> None:
    assert pre_authentication(b"{}") == b"DSSEv1 28 application/vnd.in-toto+json 2 {}"


def test_bundle_and_statement_keep_their_schema(key: KeyPair, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "runs", key.signer)
    schema = validator("attestation")
    schema.validate(json.loads((bundle / ATTESTATION).read_bytes()))
    schema.evolve(schema={"$ref": "attestation.schema.json#/$defs/statement"}).validate(
        read_payload(bundle)
    )


def test_statement_names_manifest_summary_commit_and_criteria(key: KeyPair, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "runs", key.signer)
    payload = read_payload(bundle)
    assert payload["subject"] == [
        {"name": name, "digest": {"sha256": sha256_file(bundle / name)}}
        for name in ("sha256_manifest.txt", f"evidence/{SUMMARY}")
    ] + [{"name": "commit", "digest": {"gitCommit": COMMIT}}]
    assert payload["predicate"] == {
        "result": "PASSED",
        "configuration": [
            {"name": "contract", "digest": {"sha256": SHA256}},
            {"name": "stack.yaml", "digest": {"sha256": SHA256}},
        ],
        "passedTests": ["completed", "verified"],
        "warnedTests": [],
        "failedTests": [],
    }


@pytest.mark.parametrize("commit", [{"sha": COMMIT, "dirty": True}, {"sha": None, "dirty": None}])
def test_a_tree_that_is_not_its_commit_names_no_commit(
    commit: dict[str, Any], key: KeyPair, tmp_path: Path
) -> None:
    payload = read_payload(make_bundle(tmp_path / "runs", key.signer, commit=commit))
    assert all("gitCommit" not in subject["digest"] for subject in payload["subject"])


@pytest.mark.parametrize("verdict", ["failed", "inconclusive"])
def test_what_did_not_pass_is_failed(verdict: str, key: KeyPair, tmp_path: Path) -> None:
    predicate = read_payload(make_bundle(tmp_path / "runs", key.signer, verdict=verdict))[
        "predicate"
    ]
    assert (predicate["result"], predicate["failedTests"]) == ("FAILED", ["completed"])


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_openssl_accepts_the_signature(key: KeyPair, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "runs", key.signer)
    envelope = json.loads((bundle / ATTESTATION).read_bytes())["dsseEnvelope"]
    body = base64.b64decode(envelope["payload"])
    (tmp_path / "data").write_bytes(pre_authentication(body))
    (tmp_path / "data.sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    command = ["openssl", "dgst", "-sha256", "-verify", str(key.public), "-signature", "data.sig"]
    if key.signer.public.algorithm == "ed25519":
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(key.public), "-rawin"]
        command += ["-sigfile", "data.sig", "-in"]
    done = subprocess.run([*command, "data"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done


@pytest.mark.skipif(not shutil.which("cosign"), reason="needs cosign")
def test_cosign_accepts_the_bundle_offline(key: KeyPair, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "runs", key.signer)
    root = tmp_path / "empty.json"
    root.write_text('{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    command = ["cosign", "verify-blob-attestation", "--key", str(key.public), "--bundle"]
    command += [ATTESTATION, "--trusted-root", str(root), "--insecure-ignore-tlog"]
    command += ["--type", attestation.PREDICATE_TYPE, "sha256_manifest.txt"]
    done = subprocess.run(command, cwd=bundle, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (bundle / "sha256_manifest.txt").write_bytes(b"changed\n")
    assert subprocess.run(command, cwd=bundle, capture_output=True, check=False).returncode != 0


def _set(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(bundle: dict[str, Any]) -> None:
        where: Any = bundle
        for part in path[:-1]:
            where = where[part]
        where[path[-1]] = value

    return change


def _twice(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["signatures"] *= 2


ENVELOPE = "dsseEnvelope"
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "media type": (_set("mediaType", value="x"), "mediaType: expected"),
    "extra key": (_set("extra", value=1), "bundle: expected keys"),
    "hint": (_set("verificationMaterial", "publicKey", "hint", value="x"), "key hint: expected"),
    "certificate": (
        _set("verificationMaterial", value={"x509CertificateChain": {}}),
        "key hint: expected",
    ),
    "payload type": (_set(ENVELOPE, "payloadType", value="text/plain"), "payloadType: expected"),
    "payload": (_set(ENVELOPE, "payload", value="e30="), "signature: expected one of key"),
    "payload not base64": (_set(ENVELOPE, "payload", value="*"), "payload: expected base64"),
    "payload not text": (_set(ENVELOPE, "payload", value=7), "payload: expected"),
    "payload odd bits": (_set(ENVELOPE, "payload", value="e31="), "expected canonical base64"),
    "two signatures": (_twice, "signatures: expected exactly one, got 2"),
    "no signature": (_set(ENVELOPE, "signatures", value=[]), "expected exactly one, got 0"),
    "signatures a text": (_set(ENVELOPE, "signatures", value="x"), "expected exactly one, got 'x'"),
    "empty signature": (
        _set(ENVELOPE, "signatures", 0, "sig", value=""),
        "signature: expected one of key",
    ),
    "envelope a list": (_set(ENVELOPE, value=[]), "dsseEnvelope: expected keys"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_shape_or_signature_is_refused(name: str, key: KeyPair, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "runs", key.signer)
    document = json.loads((bundle / ATTESTATION).read_bytes())
    change, words = CHANGES[name]
    change(document)
    with pytest.raises(AttestationError) as caught:
        read_statement(json.dumps(document).encode(), key.signer.public)
    assert words in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000])
def test_what_is_no_object_is_refused(data: bytes, key: KeyPair) -> None:
    with pytest.raises(AttestationError):
        read_statement(data, key.signer.public)


def test_differences_name_every_place() -> None:
    expected = {"a": [1, {"b": "x"}], "c": True, "same": None}
    got = {"a": [1, {"b": "y"}], "c": 1, "same": None, "d": "new"}
    assert differences(expected, got) == [
        "a[1].b: expected 'x', got 'y'",
        "c: expected True, got 1",
        "d: expected nothing, got 'new'",
    ]
    assert differences([1, 2], [1]) == ["statement: expected [1, 2], got [1]"]
