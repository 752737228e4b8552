"""One stack file on both runtimes: it passes, and summaries differ only where they must."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import run_proof_pack
import spinup_smoke
import verify_evidence

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.docker, pytest.mark.stack]
RUNTIMES = ("process", "compose")
# What a container has and a process has not; everything else is in both.
ONLY_IN_CONTAINERS = {"images", "containers"}
# Other figures of another run: times, ids, processes.
DIFFER = {
    "command",
    "containers",
    "counts",
    "criteria",
    "duration_seconds",
    "ended_utc",
    "images",
    "jobs",
    "latency",
    "run_id",
    "runtime",
    "services",
    "started_utc",
    "steps",
    "system_seconds",
    "trace",
}


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """`run_summary.json` of one proof pack on each runtime."""
    folder = tmp_path_factory.mktemp("proofs")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROOF_PACK_CACHE_DIR", str(folder / "cache"))
        patch.setenv("PROOF_PACK_CONFIG_DIR", str(folder / "config"))
        for runtime in RUNTIMES:
            output = folder / runtime
            options = ["--runtime", runtime, "--jobs", "20", "--poll-seconds", "0.3"]
            assert run_proof_pack.main([*options, "--output-dir", str(output)]) == 0
            (bundle,) = output.iterdir()
            key = str(folder / "config" / "signing-key.pub")
            assert verify_evidence.main([str(bundle), "--key", key, "--require-passed"]) == 0
            found[runtime] = json.loads((bundle / "evidence/run_summary.json").read_text())
    return found


def test_the_same_jobs_gave_the_same_results(summaries: dict[str, dict[str, Any]]) -> None:
    """P3, P6: byte-identical submissions, and the same bytes in SQLite and in PostgreSQL."""
    process, compose = (summaries[name]["jobs"] for name in RUNTIMES)
    assert process["submissions_sha256"] == compose["submissions_sha256"]
    assert process["completed"] == compose["completed"] == 20
    digests = [[item["digest"] for item in jobs["items"]] for jobs in (process, compose)]
    assert digests[0] == digests[1]
    assert all(digests[0])


def _with_one_store(summary: dict[str, Any], kind: str, names: set[str]) -> dict[str, Any]:
    """These fields, once the store's line is seen to name the store that was really read."""
    same = copy.deepcopy({name: summary[name] for name in names})
    store = same["persistence"]["store"]
    assert store["detail"].count(f"({kind})") == 1
    store["detail"] = store["detail"].replace(f"({kind})", "(the store)")
    return same


def test_summaries_differ_only_where_they_must(summaries: dict[str, dict[str, Any]]) -> None:
    process, compose = (summaries[name] for name in RUNTIMES)
    assert compose.keys() - process.keys() <= ONLY_IN_CONTAINERS
    assert process.keys() <= compose.keys()
    same = process.keys() - DIFFER
    assert {"contract_sha256", "stack", "verdict", "persistence", "eligible"} <= same
    assert _with_one_store(process, "sqlite", same) == _with_one_store(compose, "postgres", same)
    judged = [
        {row["id"]: row["outcome"] for row in item["criteria"]} for item in (process, compose)
    ]
    assert judged[0].items() <= judged[1].items()
    more = judged[1].keys() - judged[0].keys()
    assert more == {"containers-seen", "containers-up", "no-restarts", "no-memory-kills"}


def test_every_container_and_image_is_in_the_evidence(summaries: dict[str, dict[str, Any]]) -> None:
    compose = summaries["compose"]
    services = {row["service"] for row in compose["containers"]}
    assert {"postgres", "redis", "prometheus", "gateway", "prepare"} <= services
    assert {row["image_id"] for row in compose["containers"]} == {
        row["id"] for row in compose["images"]
    }


def test_the_smoke_passes_in_containers(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H1, H2: validate, build, verify the lock, import, golden requests, sign."""
    monkeypatch.setenv("PROOF_PACK_CACHE_DIR", str(shared_cache))
    assert spinup_smoke.main(["--runtime", "compose", "--output-dir", str(tmp_path / "out")]) == 0
    (bundle,) = (tmp_path / "out").iterdir()
    names = {path.name for path in (bundle / "evidence").iterdir()}
    assert {"container_metadata.json", "docker_ps.txt", "boot_env.txt"} <= names
    assert {"postgres_logs.txt", "gateway_logs.txt"} <= names
    metadata = json.loads((bundle / "evidence/container_metadata.json").read_text())
    assert any("base" in json.dumps(image) for image in metadata["images"])
