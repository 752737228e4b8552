"""gating.ledger: what is appended is there; a ledger that is not its own is not continued."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from bundles import KeyPair, make_key
from ledgers import CONTRACT, envelope

from common.cli import ConfigurationError
from evidence.redact import Redactor
from gating import ledger as ledger_module
from gating.ledger import Ledger, LedgerError, verify
from gating.ledger_runs import started_fields


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return make_key(tmp_path_factory.mktemp("key"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "ledger.jsonl"


@pytest.fixture
def ledger(path: Path, pair: KeyPair) -> Ledger:
    return Ledger(path, pair.signer)


def add(ledger: Ledger, number: int = 1) -> str:
    return ledger.append("contract", stack="mine", version=number, sha256=CONTRACT).sha256


def versions(path: Path, pair: KeyPair) -> list[int]:
    return [entry.fields["version"] for entry in verify(path, pair.signer.public)]


def test_no_ledger_is_an_empty_one_and_reading_makes_no_file(ledger: Ledger, path: Path) -> None:
    assert ledger.entries() == ()
    assert not path.parent.exists()


def test_an_entry_is_there_when_append_returns(ledger: Ledger, path: Path, pair: KeyPair) -> None:
    made = ledger.append("contract", stack="mine", version=1, sha256=CONTRACT)
    assert verify(path, pair.signer.public) == (made,)
    assert json.loads((path.parent / "ledger.head.json").read_text()) == {
        "seq": 1,
        "head_sha256": made.sha256,
        "keyid": pair.signer.keyid,
        "signature": json.loads((path.parent / "ledger.head.json").read_text())["signature"],
    }
    assert not (path.parent / "ledger.pending.json").exists()


def test_no_secret_enters_the_ledger(path: Path, pair: KeyPair) -> None:
    ledger = Ledger(path, pair.signer, Redactor(["correct horse"]))
    ledger.append("contract", stack="the correct horse", version=1, sha256=CONTRACT)
    assert "correct horse" not in path.read_text()
    assert "[redacted:secret]" in path.read_text()


def test_an_entry_of_another_form_is_refused(ledger: Ledger, path: Path) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("contract", {"stack": "mine", "version": 0, "sha256": CONTRACT}),
        ("contract", {"stack": "mine"}),
        ("made_up", {}),
        ("gate_ended", {"gate": "gate1", "run_id": "20260101-000000"}),
        ("resolve", {"gate": "gate1", "run_id": "1", "root_cause": " ", "fix_commit": "x"}),
    ]
    for kind, fields in wrong:
        with pytest.raises(ConfigurationError, match="ledger entry"):
            ledger.append(kind, **fields)
    with pytest.raises(ValueError, match="'seq'"):
        ledger.append("contract", seq=7)
    with pytest.raises(LedgerError, match="at most 1048576 bytes"):
        ledger.append("contract", stack="x" * (1 << 20), version=1, sha256=CONTRACT)
    assert not path.exists()


def test_a_start_may_name_contract_version_and_kit(ledger: Ledger) -> None:
    """Lines from before they were recorded have neither, and stay valid."""
    start = started_fields(
        "gate1", "20260101-000000", envelope(), requires=None, rehearsal=False, contract_version=3
    )
    assert ledger.append("gate_started", **start).fields["contract_version"] == 3
    old = {name: start[name] for name in start if name not in {"contract_version", "kit_commit"}}
    ledger.append("gate_started", **old)
    for wrong in ({"contract_version": 0}, {"contract_version": "3"}, {"kit_commit": {"sha": "x"}}):
        with pytest.raises(ConfigurationError, match="ledger entry gate_started"):
            ledger.append("gate_started", **old | wrong)
    without = started_fields("gate1", "20260101-000000", envelope(), requires=None, rehearsal=False)
    assert "contract_version" not in without


def test_one_that_is_not_allowed_appends_nothing(ledger: Ledger, path: Path, pair: KeyPair) -> None:
    add(ledger, 1)

    def refuse(entries: tuple[ledger_module.Entry, ...]) -> None:
        assert len(entries) == 1
        raise LedgerError("no")

    with pytest.raises(LedgerError, match="no"):
        ledger.append_if(refuse, "contract", stack="mine", version=2, sha256=CONTRACT)
    assert versions(path, pair) == [1]


def test_of_many_that_ask_at_once_only_one_is_allowed(path: Path, pair: KeyPair) -> None:
    """Asking and appending are one step."""
    refused: list[LedgerError] = []

    def none_yet(entries: tuple[ledger_module.Entry, ...]) -> None:
        if entries:
            raise LedgerError("somebody was first")

    def ask() -> None:
        try:
            fields = {"stack": "mine", "version": 1, "sha256": CONTRACT}
            Ledger(path, pair.signer).append_if(none_yet, "contract", **fields)
        except LedgerError as problem:
            refused.append(problem)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (versions(path, pair), len(refused)) == ([1], 3)


def test_the_ledger_of_another_key_is_not_continued(
    ledger: Ledger, path: Path, pair: KeyPair, tmp_path: Path
) -> None:
    add(ledger)
    other = Ledger(path, make_key(tmp_path, "other").signer)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="give the --key that this ledger was begun with"):
        add(other)
    with pytest.raises(LedgerError, match="expected a head signed by key"):
        other.entries()
    assert path.read_bytes() == before
    assert versions(path, pair) == [1]


def test_an_edited_ledger_is_not_continued(ledger: Ledger, path: Path) -> None:
    add(ledger)
    path.write_bytes(path.read_bytes().replace(b"mine", b"ours"))
    with pytest.raises(LedgerError, match=r"ledger\.jsonl: expected the head"):
        add(ledger)
    assert path.read_bytes().count(b"\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="links and FIFOs")
@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.head.json", "ledger.pending.json"])
def test_a_link_or_another_kind_of_file_is_refused(name: str, ledger: Ledger, path: Path) -> None:
    add(ledger)
    target = path.parent / name
    if target.exists():
        target.rename(path.parent / "moved")
    target.symlink_to(path.parent / "moved")
    with pytest.raises(LedgerError, match="got a symbolic link"):
        ledger.entries()
    target.unlink()
    os.mkfifo(target)
    with pytest.raises(LedgerError, match="got a FIFO"):
        add(ledger)


@pytest.mark.skipif(os.name == "nt", reason="links and FIFOs")
def test_nothing_is_written_through_a_link(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    add(ledger)
    aim = tmp_path / "aim"
    aim.write_text("whole")
    (path.parent / ".ledger.head.json.partial").symlink_to(aim)
    with pytest.raises(LedgerError, match="can't write the ledger"):
        add(ledger)
    assert aim.read_text() == "whole"


def test_a_ledger_that_stays_locked_names_the_lock(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    monkeypatch.setattr(ledger_module, "LOCK_SECONDS", 0.01)
    add(ledger)
    with (
        FileLock(path.with_suffix(".lock")),
        pytest.raises(LedgerError, match=r"ledger\.lock stayed locked for 0\.01 s"),
    ):
        add(ledger)


def test_a_folder_that_is_a_file_is_one_line(path: Path, ledger: Ledger) -> None:
    path.parent.write_text("")
    with pytest.raises(LedgerError, match="can't write the ledger"):
        add(ledger)


@pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "jq", "openssl", "sha256sum"))),
    reason="needs bash, jq, openssl and sha256sum",
)
def test_the_recipe_of_the_documentation_needs_none_of_our_code(
    ledger: Ledger, path: Path, pair: KeyPair
) -> None:
    text = (Path(__file__).parents[2] / "docs/ledger.md").read_text()
    recipe = re.search(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert recipe
    for number in range(3):
        add(ledger, number + 1)
    shutil.copy(pair.public, path.parent / "KEY.pub")

    def follow() -> int:
        command = ["bash", "-c", recipe[1]]
        return subprocess.run(command, cwd=path.parent, capture_output=True, check=False).returncode

    assert follow() == 0
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    forged = (
        whole.replace(b"mine", b"ours"),
        lines[1] + lines[0] + lines[2],
        lines[0] + lines[2],
        lines[0] + lines[1],
        whole + lines[2],
        whole[:-1],
    )
    for data in forged:
        path.write_bytes(data)
        assert follow() != 0
