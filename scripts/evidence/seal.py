"""Seal a run folder: manifest, signature, attestation, VERIFY.md, one rename."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from typing import TYPE_CHECKING

from common.cli import ScriptError
from common.documents import parse_json
from common.hashing import sha256_bytes
from evidence import attestation, manifest
from evidence.claims import Claims, check_last_event, read_claims
from evidence.files import ArtifactError, read_regular, safe_name, shown
from evidence.partials import OWNER, sealing_path
from evidence.trace import TRACE, TRACE_LIMIT_BYTES, check_trace_bytes
from evidence.verify_page import VERIFY_PAGE, render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evidence.keys import SigningKey
    from evidence.run_folder import RunFolder

SUMMARY_LIMIT_BYTES = 256 << 20
_SYNC_EACH_FILES = 64


def seal(
    folder: RunFolder, *, summary: Mapping[str, object], summary_name: str, key: SigningKey
) -> Path:
    """Sign everything in a run folder and give it its final name.

    Args:
        folder: the run folder; `summary_name` is in its evidence already.
        summary: the summary as it was given to `write_json`.
        summary_name: e.g. "run_summary.json".
        key: signs the manifest and the attestation.

    Returns:
        The final folder.

    Raises:
        ArtifactError: something can't be written or is not as the summary says; the
            folder is removed then, so that nothing is left that verifies.
    """
    try:
        claims = _claims(folder, summary, summary_name, key)
        _write_proof(folder, claims, summary_name, key)
        _sync(folder.partial)
        return _rename(folder)
    except OSError as problem:
        folder.discard()
        reason = (problem.strerror or str(problem)).lower()
        raise ArtifactError(f"can't seal {folder.final}: {reason}: free space") from problem
    except ScriptError as problem:
        folder.discard()
        raise ArtifactError(f"can't seal {folder.final}: {problem}") from problem
    except BaseException:
        folder.discard()
        raise


def _claims(
    folder: RunFolder, summary: Mapping[str, object], summary_name: str, key: SigningKey
) -> Claims:
    if not safe_name(summary_name):
        raise ArtifactError(f"expected a plain summary name, got {shown(summary_name)}")
    written = parse_json(
        read_regular(folder.evidence / summary_name, SUMMARY_LIMIT_BYTES), summary_name
    )
    claims = read_claims(written)
    for name, expected, got in (
        ("run_id", folder.run_id, claims.run_id),
        ("keyid", key.keyid, claims.keyid),
        ("key kind", key.kind, claims.key_kind),
        ("verdict", str(summary.get("verdict")), claims.verdict),
    ):
        if got != expected:
            raise ArtifactError(f"{summary_name}: expected {name} {expected}, got {shown(got)}")
    trace = read_regular(folder.evidence / TRACE, TRACE_LIMIT_BYTES)
    check_trace_bytes(trace, claims.trace_head, claims.trace_count)
    check_last_event(trace, claims)
    return claims


def _write_proof(folder: RunFolder, claims: Claims, summary_name: str, key: SigningKey) -> None:
    lines = manifest.build(folder.evidence)
    statement = attestation.statement(
        claims,
        manifest_sha256=sha256_bytes(lines),
        summary_name=summary_name,
        summary_sha256=manifest.digest_of(summary_name, lines),
    )
    files = {
        manifest.MANIFEST: lines,
        manifest.SIGNATURE: key.sign(lines),
        attestation.ATTESTATION: attestation.build(statement, key),
        VERIFY_PAGE: render(claims, key.public, summary_name),
    }
    for name, data in files.items():
        (folder.partial / name).write_bytes(data)


def _rename(folder: RunFolder) -> Path:
    record = sealing_path(folder.output, folder.run_id)
    # The owner record moves out first: it is no part of the bundle, and a folder
    # without one beside it would look dead to `sweep_partials`.
    (folder.partial / OWNER).replace(record)
    try:
        if os.path.lexists(folder.final):
            raise ArtifactError("expected a free name, got one that somebody made meanwhile")
        folder.partial.rename(folder.final)
    finally:
        record.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the bundle is complete; only a power cut could undo it
        _sync_folder(str(folder.output))
    return folder.final


def _sync(root: Path) -> None:
    paths = (os.path.join(top, name) for top, _, names in os.walk(root) for name in names)  # noqa: PTH118 - Path would double the time for 10,000 files
    first = [*itertools.islice(paths, _SYNC_EACH_FILES)]
    if len(first) == _SYNC_EACH_FILES and _sync_file_system(root):
        return
    for path in itertools.chain(first, paths):
        # Windows wants a handle that may write to flush it.
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    for top, _, _ in os.walk(root, topdown=False):
        _sync_folder(top)


def _sync_file_system(root: Path) -> bool:
    # One syncfs(2) instead of an fsync for each of thousands of files.
    if sys.platform != "linux":
        return False
    import ctypes

    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return False
    handle = os.open(root, os.O_RDONLY)
    try:
        if call(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(root))
    finally:
        os.close(handle)
    return True


def _sync_folder(path: str) -> None:
    if os.name == "nt":  # a folder can't be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
