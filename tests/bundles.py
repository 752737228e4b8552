"""Real sealed bundles for tests: a made-up summary, everything else by our own code."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from common.hashing import sha256_bytes
from evidence import attestation, manifest
from evidence.hash_tree import hash_tree
from evidence.key_store import make_pair
from evidence.keys import load_signer
from evidence.run_folder import RunFolder
from evidence.seal import seal
from evidence.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evidence.keys import SigningKey
    from evidence.public_key import Algorithm

SUMMARY = "run_summary.json"
COMMIT = "a" * 40
SHA256 = "b" * 64
EXIT_CODES = {"passed": 0, "failed": 1, "inconclusive": 2}


@dataclass(frozen=True)
class KeyPair:
    """A key and the file with its public half."""

    signer: SigningKey
    public: Path


def make_key(folder: Path, name: str = "key", algorithm: Algorithm = "ecdsa-p256") -> KeyPair:
    """A new key pair in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    private, public = make_pair(folder / name, algorithm)
    return KeyPair(load_signer(str(private)), public)


def criterion(name: str, outcome: str) -> dict[str, Any]:
    """One judged criterion."""
    return {
        "id": name,
        "metric": {"passed": "/figures/one", "failed": "/figures/zero"}.get(
            outcome, "/figures/none"
        ),
        "rule": "equals",
        "expected": 1,
        "observed": {"passed": 1, "failed": 0}.get(outcome),
        "unit": "jobs",
        "why": "a test",
        "outcome": outcome,
    }


IMAGE = {"reference": "example/system:1", "id": f"sha256:{'c' * 64}"}


def container(service: str, **changes: Any) -> dict[str, Any]:
    """A container of the summary that runs the image above."""
    return {
        "service": service,
        "name": f"run-{service}-1",
        "id": "d" * 64,
        "image": IMAGE["reference"],
        "image_id": IMAGE["id"],
        "state": "running",
        "health": "healthy",
        "restarts": 0,
        "oom_killed": False,
        "exit_code": None,
        "task": False,
        "ports": [],
        "usage": None,
        **changes,
    }


def _down(row: dict[str, Any]) -> bool:
    stopped = row["state"] != "running" and not row["task"]
    return stopped or row["health"] == "unhealthy"


def in_containers(*rows: dict[str, Any], **counts: int) -> dict[str, Any]:
    """What a run in containers adds to its summary; `counts` replace what is right."""
    right = {
        "containers": len(rows),
        "containers_down": sum(_down(row) for row in rows),
        "container_restarts": sum(row["restarts"] for row in rows),
        "oom_kills": sum(row["oom_killed"] for row in rows),
    }
    images = [IMAGE]
    return {
        "runtime": "compose",
        "images": images,
        "containers": [*rows],
        "counts": right | counts,
    }


def fake_summary(
    folder: RunFolder, trace: Trace, key: SigningKey, /, **changes: Any
) -> dict[str, Any]:
    """A summary as the scripts write it; `changes` replace top-level keys."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    verdict = changes.get("verdict", "passed")
    return {
        "schema": "run_summary/1",
        "script": "run_proof_pack",
        "run_id": folder.run_id,
        "started_utc": changes.get("ended_utc", now),
        "ended_utc": now,
        "verdict": verdict,
        "exit_code": EXIT_CODES.get(str(verdict), 1),
        "eligible": {"value": False, "reasons": ["self-signed key"]},
        "commit": {"sha": COMMIT, "dirty": False},
        "contract_sha256": SHA256,
        "stack": {"name": "fake", "file": "compose/fake/stack.yaml", "sha256": SHA256},
        "interrupted": False,
        "figures": {"one": 1, "zero": 0},
        "error": None,
        "criteria": [criterion("completed", verdict), criterion("verified", "passed")],
        "steps": [{"number": 1, "name": "submit jobs", "outcome": "passed"}],
        "trace": {"head": trace.head, "count": trace.count},
        "key": {"kind": key.kind, "keyid": key.keyid, "public_key_file": key.public_key_file},
        **changes,
    }


def open_run(output: Path) -> RunFolder:
    """A run folder with a trace's worth of other files in it."""
    folder = RunFolder.create(output, datetime.now(UTC))
    folder.write_text("executor_logs.txt", "ready\ndone\n")
    folder.write_text("logs/gateway_logs.txt", "hello\n")
    folder.write_bytes("empty.txt", b"")
    return folder


def finish(folder: RunFolder, key: SigningKey, /, **changes: Any) -> Path:
    """Trace, summary and seal."""
    with Trace(folder) as trace:
        for number in range(5):
            trace.add("job seen", number=number)
        verdict = changes.get("verdict", "passed")
        code = changes.get("exit_code", EXIT_CODES.get(str(verdict), 1))
        trace.add("verdict", verdict=verdict, exit_code=code)
    summary = fake_summary(folder, trace, key, **changes)
    folder.write_json(SUMMARY, summary)
    return seal(folder, summary=summary, summary_name=SUMMARY, key=key)


def make_bundle(output: Path, key: SigningKey, /, **changes: Any) -> Path:
    """A sealed bundle in `output`."""
    return finish(open_run(output), key, **changes)


def sign_manifest(bundle: Path, key: SigningKey) -> None:
    """Sign the manifest as it stands."""
    (bundle / manifest.SIGNATURE).write_bytes(key.sign((bundle / manifest.MANIFEST).read_bytes()))


def rebuild_manifest(bundle: Path) -> None:
    """Write the manifest of what is in evidence/ now, without any check."""
    digests, _ = hash_tree(str(bundle / "evidence"))
    (bundle / manifest.MANIFEST).write_bytes(manifest.render(digests))


def read_payload(bundle: Path) -> dict[str, Any]:
    """The statement in a bundle, unchecked."""
    envelope = json.loads((bundle / attestation.ATTESTATION).read_bytes())["dsseEnvelope"]
    payload: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return payload


def attest_again(bundle: Path, key: SigningKey, changes: Mapping[str, Any] | None = None) -> None:
    """A new attestation over the files as they are; `changes` go into the predicate."""
    payload = read_payload(bundle)
    for subject in payload["subject"]:
        if (bundle / subject["name"]).is_file():
            data = (bundle / subject["name"]).read_bytes()
            subject["digest"] = {"sha256": sha256_bytes(data)}
    payload["predicate"].update(changes or {})
    (bundle / attestation.ATTESTATION).write_bytes(attestation.build(payload, key))


def seal_again(bundle: Path, key: SigningKey) -> None:
    """Manifest, signature and attestation again: what only the signer can do."""
    rebuild_manifest(bundle)
    sign_manifest(bundle, key)
    attest_again(bundle, key)
