"""gating.ledger_bundles: a ledger that was put back is given away by the sealed bundles."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from bundles import KeyPair, finish, make_key, open_run
from ledgers import CONTRACT

from evidence import verify
from gating.ledger import Ledger, LedgerError
from gating.ledger_bundles import check_bundles_known

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pair(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path / "key")


@pytest.fixture
def ledger(tmp_path: Path, pair: KeyPair) -> Ledger:
    return Ledger(tmp_path / "runs" / "ledger.jsonl", pair.signer)


def sealed(ledger: Ledger, pair: KeyPair, sha256: str | None = None) -> Path:
    """The bundle of a run whose start is the ledger's next entry, or has this hash."""
    if sha256 is None:
        version = len(ledger.entries()) + 1
        sha256 = ledger.append("contract", stack="mine", version=version, sha256=CONTRACT).sha256
    return bundle_of({"name": "gate1", "ledger_sha256": sha256}, ledger.path.parent, pair)


def bundle_of(gate: dict[str, Any], output: Path, pair: KeyPair) -> Path:
    folder = open_run(output)
    summary = {"gate": gate, "key": {"keyid": pair.signer.keyid}}
    folder.write_json(f"gate1-summary-{folder.run_id}.json", summary)
    return finish(folder, pair.signer, gate=gate)


def ask(ledger: Ledger, pair: KeyPair) -> None:
    check_bundles_known(ledger.entries(), ledger.path.parent, pair.signer.public)


def put_back(ledger: Ledger, pair: KeyPair) -> Path:
    """A bundle whose start the ledger has forgotten."""
    if not ledger.entries():
        sealed(ledger, pair)
    beside = [path for path in ledger.path.parent.iterdir() if path.is_file()]
    old = {path: path.read_bytes() for path in beside}
    bundle = sealed(ledger, pair)
    for path, data in old.items():
        path.write_bytes(data)
    assert len(ledger.entries()) == 1  # it is consistent
    return bundle


def test_a_ledger_with_the_start_of_every_bundle_is_whole(ledger: Ledger, pair: KeyPair) -> None:
    ask(ledger, pair)
    for _ in range(2):
        sealed(ledger, pair)
    ask(ledger, pair)


def test_a_ledger_that_was_put_back_is_refused(ledger: Ledger, pair: KeyPair) -> None:
    bundle = put_back(ledger, pair)
    with pytest.raises(LedgerError, match="the ledger was put back or is another one") as caught:
        ask(ledger, pair)
    assert str(caught.value).startswith(f"{bundle}: expected its entry")
    assert "got 1 entries without it" in str(caught.value)
    assert "restore the newest copy" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_deleted_and_another_ledger_are_refused(
    ledger: Ledger, pair: KeyPair, tmp_path: Path
) -> None:
    sealed(ledger, pair)
    other = Ledger(tmp_path / "other.jsonl", pair.signer)
    other.append("contract", stack="mine", version=9, sha256=CONTRACT)
    for entries in ((), other.entries()):
        with pytest.raises(LedgerError, match="is another one"):
            check_bundles_known(entries, ledger.path.parent, pair.signer.public)


@pytest.mark.parametrize("gate", [{}, {"ledger_sha256": None}, {"ledger_sha256": 5}])
def test_a_run_outside_of_the_ledger_says_nothing(
    gate: dict[str, Any], ledger: Ledger, pair: KeyPair
) -> None:
    bundle_of({"name": "gate1", **gate}, ledger.path.parent, pair)
    ask(ledger, pair)


def test_a_bundle_of_another_signer_says_nothing(
    ledger: Ledger, pair: KeyPair, tmp_path: Path
) -> None:
    sealed(ledger, make_key(tmp_path, "theirs"), "e" * 64)
    ask(ledger, pair)


def test_a_bundle_that_was_changed_says_nothing_but_is_named(
    ledger: Ledger, pair: KeyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else whoever can write the folder could keep every gate from starting."""
    bundle = put_back(ledger, pair)
    (bundle / "evidence" / "empty.txt").write_text("x")
    ask(ledger, pair)
    assert f"{bundle}: not in the ledger, and not believed: " in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[", "[]", '{"gate": []}', '{"gate": {"ledger_sha256": []}}'])
def test_a_summary_of_another_form_says_nothing(text: str, ledger: Ledger, pair: KeyPair) -> None:
    bundle = put_back(ledger, pair)
    (path,) = bundle.glob("evidence/gate1-summary-*")
    bait = f' "ledger_sha256": "{"e" * 64}" {pair.signer.keyid}'
    path.write_text(text)
    ask(ledger, pair)
    path.write_text(text + bait)
    ask(ledger, pair)


def test_other_folders_and_links_are_passed_over(
    ledger: Ledger, pair: KeyPair, tmp_path: Path
) -> None:
    bundle = put_back(ledger, pair)
    bundle.rename(bundle.with_name("old"))
    ask(ledger, pair)
    (path,) = (bundle.with_name("old") / "evidence").glob("gate1-summary-*")
    shutil.move(path, tmp_path / "summary.json")
    path.symlink_to(tmp_path / "summary.json")
    path.parent.parent.rename(bundle)
    ask(ledger, pair)


def test_known_bundles_are_not_verified_again(
    ledger: Ledger, pair: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of many bundles costs a look at each summary, no more."""
    sealed(ledger, pair)
    sealed(ledger, make_key(tmp_path, "theirs"), "e" * 64)
    monkeypatch.setattr(verify, "verify_bundle", None)
    ask(ledger, pair)
    put_back(ledger, pair)
    with pytest.raises(TypeError):
        ask(ledger, pair)


def test_the_entry_is_read_from_the_gate_and_nowhere_else(ledger: Ledger, pair: KeyPair) -> None:
    gate = {"name": "gate1"}
    folder = open_run(ledger.path.parent)
    told = {"gate": gate, "measured": {"ledger_sha256": "e" * 64}, "key": pair.signer.keyid}
    folder.write_text(f"gate1-summary-{folder.run_id}.json", json.dumps(told))
    finish(folder, pair.signer, gate=gate)
    ask(ledger, pair)
