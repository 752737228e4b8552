"""The reference system as a whole: golden answers, and no acknowledged job lost to kill -9."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import run_proof_pack
import spinup_smoke
from jobs_in_flight import JOBS, board_of, settle, submit_all

from stack.golden import ask_golden
from stack.health import probe
from stack.jobs import COMPLETED, NOT_SUBMITTED
from stack.load import load_stack
from stack.workload import WorkloadClient

if TYPE_CHECKING:
    from stack.process import ProcessRuntime

pytestmark = pytest.mark.stack
REFERENCE = Path(__file__).resolve().parents[2] / "compose/reference/stack.yaml"
SERVICES = [service.name for service in load_stack(REFERENCE, {}).services]


def test_smoke_and_proof_pack_pass_on_the_reference_system(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 2: the two scripts as users run them."""
    monkeypatch.setenv("PROOF_PACK_CACHE_DIR", str(shared_cache))
    output = ["--output-dir", str(tmp_path / "out")]
    assert spinup_smoke.main(output) == 0
    assert run_proof_pack.main([*output, "--jobs", "20", "--poll-seconds", "0.2"]) == 0
    summary = json.loads(
        (max((tmp_path / "out").iterdir()) / "evidence/run_summary.json").read_text()
    )
    assert summary["jobs"]["completed"] == 20
    assert summary["persistence"]["memory"]["verified"] == 20


def test_every_golden_request_is_answered_and_every_page_is_there(
    reference: ProcessRuntime,
) -> None:
    client = WorkloadClient(reference.stack, reference.secrets, "golden")
    answers = ask_golden(reference.stack, client)
    assert [answer["detail"] for answer in answers if answer["outcome"] != "passed"] == []
    for service in reference.services:
        if service.role == "system":
            for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
                assert probe(service.url + path).status == 200, service.name + path


@pytest.mark.parametrize("victim", SERVICES)
def test_kill_9_of_any_service_loses_no_acknowledged_job(
    reference: ProcessRuntime, victim: str
) -> None:
    """Issue 2: 50 jobs in flight; every one ends, with one result in the store at most."""
    board = board_of(reference.stack, reference, f"kill-{victim}")
    submit_all(board, victim)
    reference.kill(victim)
    assert not probe(reference.stack.service(victim).url + "/healthz").healthy
    reference.restart(victim)
    settle(board, reference.stack, reference)
    # Killing what is not being worked on fails nothing.
    if victim != "targets":
        assert len(board.with_status(COMPLETED)) == JOBS


@pytest.mark.parametrize("victim", ["control-plane", "executor", "memory-engine"])
def test_kill_9_during_submission_loses_and_doubles_nothing(
    reference: ProcessRuntime, victim: str
) -> None:
    """A submission whose answer was lost is asked again under its key, and is one job."""
    board = board_of(reference.stack, reference, f"submit-{victim}")
    killer = threading.Timer(0.1, reference.kill, [victim])
    killer.start()
    board.submit_all(4, lambda _count: None)
    killer.join()
    reference.restart(victim)
    for run in board.with_status(NOT_SUBMITTED):
        board._submit(run)
    assert len(board.with_status("pending")) == JOBS
    assert len({run.job_id for run in board.runs}) == JOBS
    settle(board, reference.stack, reference)
