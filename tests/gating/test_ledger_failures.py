"""gating.ledger_failures: kill -9 after the verdict does not hide a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bundles import SHA256, KeyPair, make_bundle, make_key
from ledgers import envelope

from gating.ledger import Ledger
from gating.ledger_failures import record_sealed_failures
from gating.ledger_runs import STARTED, gate_runs, started_fields

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pair(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path / "key")


@pytest.fixture
def ledger(tmp_path: Path, pair: KeyPair) -> Ledger:
    return Ledger(tmp_path / "runs" / "ledger.jsonl", pair.signer)


def sealed(ledger: Ledger, pair: KeyPair, *, rehearsal: bool = False, **changes: Any) -> Path:
    """The bundle of a run whose end nobody has recorded."""
    bundle = make_bundle(ledger.path.parent, pair.signer, **{"verdict": "failed"} | changes)
    facts = envelope(contract=SHA256, stack=SHA256, name="fake")
    fields = started_fields("gate1", bundle.name, facts, requires=None, rehearsal=rehearsal)
    ledger.append(STARTED, **fields)
    return bundle


def recorded(ledger: Ledger, pair: KeyPair, *, alive: bool = False) -> list[str]:
    folder = ledger.path.parent
    return record_sealed_failures(ledger, folder, pair.signer.public, lambda _pid, _birth: alive)


def test_a_sealed_failure_is_recorded_once(ledger: Ledger, pair: KeyPair) -> None:
    bundle = sealed(ledger, pair)
    assert recorded(ledger, pair) == [bundle.name]
    assert gate_runs(ledger.entries())[0].failed
    assert recorded(ledger, pair) == []
    assert len(ledger.entries()) == 2


@pytest.mark.parametrize(
    "facts",
    [
        {"verdict": "passed"},
        {"verdict": "inconclusive"},
        {"rehearsal": True},
        {"contract_sha256": "e" * 64},
        {"stack": {"name": "fake", "file": "compose/fake/stack.yaml", "sha256": "e" * 64}},
    ],
)
def test_nothing_else_is_taken_over(facts: dict[str, Any], ledger: Ledger, pair: KeyPair) -> None:
    sealed(ledger, pair, **facts)
    assert recorded(ledger, pair) == []


def test_a_run_that_goes_on_records_its_own_end(ledger: Ledger, pair: KeyPair) -> None:
    sealed(ledger, pair)
    assert recorded(ledger, pair, alive=True) == []


def test_a_bundle_that_was_changed_or_moved_says_nothing(ledger: Ledger, pair: KeyPair) -> None:
    bundle = sealed(ledger, pair)
    (bundle / "evidence" / "empty.txt").write_text("x")
    assert recorded(ledger, pair) == []
    bundle.rename(bundle.with_name("elsewhere"))
    assert recorded(ledger, pair) == []


def test_of_two_that_look_at_once_one_records(
    ledger: Ledger, pair: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(ledger, pair)
    before = ledger.entries()
    assert len(recorded(ledger, pair)) == 1
    monkeypatch.setattr(ledger, "entries", lambda: before)
    assert recorded(ledger, pair) == []
