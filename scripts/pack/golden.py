"""The golden pack of a smoke: pack twice, compare the bytes, verify the index (H5)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, ScriptError
from common.hashing import sha256_bytes
from evidence.judging import FAILED, INCONCLUSIVE, PASSED
from pack.request import PackRequest, ask_for_pack
from pack.verify import Wanted, verdict_of, verify_index
from stack.placeholders import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evidence.recorder import Recorder
    from pack.repository import Repository
    from pack.verify import Finding
    from stack.model import Stack
    from stack.workload import WorkloadClient

PHASE = "golden pack"
INDEX_NAME = "index.json"


def nothing_to_pack(stack: Stack) -> str:
    """Why a smoke has no such phase."""
    if stack.pack is None:
        return f"      {PHASE}: none, the stack file names no pack"
    return f"      {PHASE}: none, neither --repo nor the stack file names a repository"


def source_of(stack: Stack, repo: str | None) -> str | None:
    """What is packed: --repo, or what the stack file names; None where there is nothing.

    Raises:
        ConfigurationError: --repo for a system without a packer.
    """
    if stack.pack is None:
        if repo is not None:
            raise ConfigurationError(
                f"--repo: {stack.file} names no pack: add the section, or leave --repo out"
            )
        return None
    default = stack.pack.repository
    return repo if repo is not None else default and fill(default, {"here": stack.here})


def pack_golden(
    stack: Stack, client: WorkloadClient, recorder: Recorder, wanted: PackRequest
) -> None:
    """Run the phase: index.json into the evidence, its figures into the transcript.

    Raises:
        StopRun: two packs of one tree differ, or a check refuses the index.
    """
    packer = stack.pack
    assert packer is not None  # noqa: S101 - source_of has said so
    headers, url = client.headers(packer.headers), stack.service(packer.service).url
    with recorder.step(PHASE) as step:
        index, facts = _pack_twice(lambda: ask_for_pack(packer, url, headers, wanted))
        written = recorder.folder.write_text(INDEX_NAME, index.decode("utf-8", "replace"))
        findings = verify_index(index, repository=wanted.repository, wanted=_asked(wanted))
        recorder.facts["pack"] = facts | _figures(findings, wanted.repository)
        if written.read_bytes() != index:
            raise ScriptError(f"{INDEX_NAME}: expected UTF-8 text without a secret, got another")
        _refuse(facts, findings)
        recorder.facts["pack"] |= _said(index)
        step.detail = _summary(recorder.facts["pack"])
        step.outcome = verdict_of(findings)


def _asked(wanted: PackRequest) -> Wanted:
    repository = wanted.repository
    return Wanted(wanted.budget_tokens, wanted.tokenizer, repository.name, repository.commit)


def _pack_twice(pack: Callable[[], bytes]) -> tuple[bytes, dict[str, Any]]:
    indexes, seconds = [], []
    for _ in range(2):
        begun = time.monotonic()
        indexes.append(pack())
        seconds.append(round(time.monotonic() - begun, 6))
    facts = {
        "index_sha256": sha256_bytes(indexes[0]),
        "size_bytes": len(indexes[0]),
        "packs_made": len(indexes),
        "distinct_packs": len(set(indexes)),
        "pack_seconds": seconds,
    }
    return indexes[0], facts


def _figures(findings: Sequence[Finding], repository: Repository) -> dict[str, Any]:
    outcomes = [finding.outcome for finding in findings]
    return {
        "repository": repository.name,
        "commit": repository.commit,
        "checks_passed": outcomes.count(PASSED),
        "checks_failed": outcomes.count(FAILED),
        "checks_inconclusive": outcomes.count(INCONCLUSIVE),
        "findings": [item.as_json() for item in findings if item.outcome != PASSED],
    }


def _refuse(facts: dict[str, Any], findings: Sequence[Finding]) -> None:
    if facts["distinct_packs"] != 1:
        raise ScriptError("two packs of the same tree: expected identical bytes, got two packs")
    for finding in findings:
        if finding.outcome == FAILED:
            raise ScriptError(f"{finding.id}: {finding.problems[0]}")


def _said(index: bytes) -> dict[str, Any]:
    """What an index says of itself; only one that fits the schema is asked."""
    from common.documents import parse_json

    value = parse_json(index, INDEX_NAME)
    return {
        "tokenizer_requested": value["tokenizer"]["requested"],
        "tokenizer_used": value["tokenizer"]["used"],
        "budget_tokens": value["budget_tokens"],
        "total_tokens": value["total_tokens"],
        "chunks": len(value["chunks"]),
        "files": len(value["files"]),
        "files_seen": value["counts"]["files_seen"],
    }


def _summary(facts: dict[str, Any]) -> str:
    used = facts["tokenizer_used"]
    if used != facts["tokenizer_requested"]:
        used = f"{used} for {facts['tokenizer_requested']}"
    return (
        f"{facts['chunks']} chunks of {facts['files']} files, {facts['total_tokens']} of "
        f"{facts['budget_tokens']} tokens ({used}), {facts['checks_passed']} checks"
    )
