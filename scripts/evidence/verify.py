"""Verify a sealed bundle: every reason to refuse it, each as "what: expected X, got Y".

Nothing in the bundle is trusted: each file is looked at before it is opened, links and
special files are never opened, and JSON is read strictly.
Source: design.md, "Evidence" ("Our verifier also refuses").
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from common.documents import parse_json
from evidence import attestation, manifest
from evidence.claims import RUN_ID, Claims, check_last_event, read_claims
from evidence.container_claims import METADATA, metadata_lies
from evidence.files import kind_of, read_regular, shown
from evidence.hash_tree import TreeHashing
from evidence.public_key import WORDS
from evidence.trace import READABLE_TRACE, TRACE, TRACE_LIMIT_BYTES, check_trace_bytes
from evidence.verify_page import VERIFY_PAGE, render

if TYPE_CHECKING:
    from pathlib import Path

    from evidence.public_key import PublicKey

PROOF_FILES = (manifest.MANIFEST, manifest.SIGNATURE, attestation.ATTESTATION, VERIFY_PAGE)
_LIMITS_BYTES = {manifest.MANIFEST: 1 << 30, manifest.SIGNATURE: 16 << 10}
_LIMIT_BYTES = 64 << 20
_FUTURE = timedelta(minutes=5)


@dataclass(frozen=True)
class Wanted:
    """What the reader demands beyond an unchanged bundle; None demands nothing."""

    commit: str | None = None
    run_id: str | None = None
    max_age: timedelta | None = None


@dataclass
class Result:
    """Everything that was found.

    Args:
        refusals: one line each; authentic means none.
        claims: what the summary says; None where it can't be read.
    """

    refusals: list[str] = field(default_factory=list)
    claims: Claims | None = None

    @property
    def authentic(self) -> bool:
        """Whether nothing speaks against the bundle, and there is something in it."""
        return not self.refusals and self.claims is not None

    def refuse(self, what: str, why: object) -> None:
        """Note one reason."""
        self.refusals.append(f"{what}: {why}")


def verify_bundle(
    bundle: Path,
    key: PublicKey,
    wanted: Wanted | None = None,
    now: datetime | None = None,
    hashing: TreeHashing | None = None,
) -> Result:
    """Check a bundle against the signer's public key and the reader's demands.

    Args:
        bundle: the sealed folder.
        key: the signer's, from the reader.
        wanted: what else the reader demands.
        now: the time that ages count to.
        hashing: of the bundle's evidence/, where the caller has started it already.
    """
    result = Result()
    # The reader's own path may be a link; nothing inside the bundle may.
    root = os.path.realpath(bundle)
    if not _check_layout(root, result):
        return result
    proofs = _read_proofs(root, result)
    _check_signature(proofs, key, result)
    digests = _check_files(root, proofs.get(manifest.MANIFEST), hashing, result)
    statement = _read_statement(proofs.get(attestation.ATTESTATION), key, result)
    if statement is None:
        return result
    name = attestation.summary_name(statement)
    if name is None:
        result.refuse(attestation.ATTESTATION, "expected a subject evidence/<summary>, got none")
        return result
    result.claims = _read_summary(root, name, digests, result)
    if result.claims is not None:
        lines = proofs.get(manifest.MANIFEST, b"")
        _check_statement(statement, lines, result.claims, digests, result)
        _check_trace(root, result.claims, digests, result)
        _check_metadata(root, result.claims, digests, result)
        _check_page(proofs.get(VERIFY_PAGE), result.claims, key, name, result)
        _check_name(root, result.claims, result)
        _check_wanted(result.claims, key, wanted or Wanted(), now or datetime.now(UTC), result)
    return result


def _check_layout(root: str, result: Result) -> bool:
    try:
        found = {entry.name: entry.stat(follow_symlinks=False) for entry in os.scandir(root)}
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        result.refuse("bundle", f"expected a folder, got {shown(root)}: {reason}")
        return False
    if os.path.basename(root).endswith(".partial"):  # noqa: PTH119 - root is a text here
        result.refuse("bundle", "expected a sealed folder, got one that is still being built")
    for name in sorted(set(found) - {*PROOF_FILES, "evidence"}):
        result.refuse(shown(name), "expected nothing else beside evidence/, got an extra entry")
    for name in (*PROOF_FILES, "evidence"):
        if name not in found:
            result.refuse(name, "expected it in the bundle, got nothing: missing")
    folder = found.get("evidence")
    if folder is not None and not stat.S_ISDIR(folder.st_mode):
        result.refuse("evidence", f"expected a folder, got {kind_of(folder.st_mode)}")
        return False
    return folder is not None


def _read_proofs(root: str, result: Result) -> dict[str, bytes]:
    proofs = {}
    for name in PROOF_FILES:
        path = f"{root}/{name}"
        if not os.path.lexists(path):
            continue
        try:
            proofs[name] = read_regular(path, _LIMITS_BYTES.get(name, _LIMIT_BYTES))
        except ScriptError as problem:
            result.refuse(name, problem)
    return proofs


def _check_signature(proofs: dict[str, bytes], key: PublicKey, result: Result) -> None:
    signature = proofs.get(manifest.SIGNATURE)
    if signature is None or manifest.MANIFEST not in proofs:
        result.refuse("signature", f"expected {WORDS[key.algorithm]}, got none to check")
    elif not key.accepts(signature, proofs[manifest.MANIFEST]):
        result.refuse(
            "signature",
            f"expected {WORDS[key.algorithm]} by key {key.keyid[:16]} over {manifest.MANIFEST}, "
            f"got {len(signature)} bytes that do not fit: changed manifest, other key or algorithm",
        )


def _check_files(
    root: str, data: bytes | None, hashing: TreeHashing | None, result: Result
) -> dict[str, str]:
    """The digests of what is really there, after comparing them with the manifest."""
    try:
        hashing = hashing or TreeHashing(f"{root}/evidence")
        with hashing:
            got, problems = hashing.finish(lambda: manifest.named_paths(data or b""))
    except OSError as problem:
        got, problems = {}, [f"expected readable folders, got: {problem.strerror}"]
    for line in problems:
        result.refuse("evidence", line)
    if data is None or (got and manifest.render(got) == data):
        return got  # what we would write ourselves is well formed: no need to parse it
    try:
        for line in manifest.differences(manifest.parse(data), got):
            result.refuse("evidence", line)
    except ScriptError as problem:
        result.refuse(manifest.MANIFEST, problem)
    return got


def _read_statement(data: bytes | None, key: PublicKey, result: Result) -> dict[str, Any] | None:
    if data is None:
        return None
    try:
        return attestation.read_statement(data, key)
    except ScriptError as problem:
        result.refuse(attestation.ATTESTATION, problem)
        return None


def _read_summary(root: str, name: str, digests: dict[str, str], result: Result) -> Claims | None:
    data = _read_evidence(root, name, digests, "summary", result)
    if data is None:
        return None
    try:
        return read_claims(parse_json(data, name))
    except (ScriptError, ValueError, RecursionError) as problem:
        result.refuse("summary", problem)
        return None


def _read_evidence(
    root: str, name: str, digests: dict[str, str], what: str, result: Result
) -> bytes | None:
    # Only what `walk` found to be a regular file, and only the bytes that were hashed.
    if name not in digests:
        result.refuse(what, f"expected evidence/{name}, got no such regular file: missing"[:300])
        return None
    try:
        data = read_regular(f"{root}/evidence/{name}", TRACE_LIMIT_BYTES)
    except ScriptError as problem:
        result.refuse(what, problem)
        return None
    if hashlib.sha256(data).hexdigest() != digests[name]:
        result.refuse(what, "expected the bytes that were hashed, got others: changed meanwhile")
        return None
    return data


def _check_statement(
    statement: dict[str, Any], data: bytes, claims: Claims, digests: dict[str, str], result: Result
) -> None:
    name = attestation.summary_name(statement) or ""
    expected = attestation.statement(
        claims,
        manifest_sha256=hashlib.sha256(data).hexdigest(),
        summary_name=name,
        summary_sha256=digests[name],
    )
    for line in attestation.differences(expected, statement):
        result.refuse(attestation.ATTESTATION, line)


def _check_trace(root: str, claims: Claims, digests: dict[str, str], result: Result) -> None:
    if READABLE_TRACE not in digests:
        result.refuse("trace", f"expected evidence/{READABLE_TRACE}, got nothing: missing")
    data = _read_evidence(root, TRACE, digests, "trace", result)
    if data is None:
        return
    try:
        check_trace_bytes(data, claims.trace_head, claims.trace_count)
        check_last_event(data, claims)
    except ScriptError as problem:
        result.refuse("trace", problem)


def _check_metadata(root: str, claims: Claims, digests: dict[str, str], result: Result) -> None:
    """Where a run says what it was built from, it is what ran."""
    if METADATA not in digests:
        return
    data = _read_evidence(root, METADATA, digests, METADATA, result)
    try:
        lines = [] if data is None else metadata_lies(parse_json(data, METADATA), claims.images)
    except (ScriptError, ValueError, RecursionError) as problem:
        lines = [str(problem)]
    for line in lines:
        result.refuse(METADATA, line)


def _check_page(
    data: bytes | None, claims: Claims, key: PublicKey, name: str, result: Result
) -> None:
    if data is not None and data != render(claims, key, name):
        result.refuse(
            VERIFY_PAGE, "expected the page that this bundle gets, got another text: edited"
        )


def _check_name(root: str, claims: Claims, result: Result) -> None:
    # People rename folders when they copy them; the id of another run is no such name.
    name = os.path.basename(root)  # noqa: PTH119 - root is a text here
    if RUN_ID.fullmatch(name) and name != claims.run_id:
        result.refuse("folder", f"expected the name {claims.run_id}, got that of run {name}")


def _check_wanted(
    claims: Claims, key: PublicKey, wanted: Wanted, now: datetime, result: Result
) -> None:
    if claims.keyid != key.keyid:
        result.refuse("key", f"expected key {key.keyid}, got a summary of key {claims.keyid}")
    if wanted.run_id is not None and claims.run_id != wanted.run_id:
        result.refuse("run id", f"expected {shown(wanted.run_id)}, got {claims.run_id}")
    if wanted.commit is not None and claims.clean_commit != wanted.commit:
        got = f"{claims.commit or 'no commit'}" + ("" if claims.dirty is False else " (not clean)")
        result.refuse("commit", f"expected {wanted.commit} from a clean tree, got {got}")
    age = now - claims.ended
    if age < -_FUTURE:
        result.refuse("age", f"expected a run that ended before now, got {claims.ended_utc}")
    if wanted.max_age is not None and age > wanted.max_age:
        result.refuse("age", f"expected at most {wanted.max_age}, got {age}: stale")
