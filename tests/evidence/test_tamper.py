"""Every tamper case folder is refused, in words that say what was expected and found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import verify_evidence
import yaml
from bundles import make_bundle, make_key
from tampering import Tampering

from common.cli import Exit

if TYPE_CHECKING:
    from bundles import KeyPair

CASES = Path(__file__).parent / "tamper"
NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir())
CASE_KEYS = {"rule", "steps", "key", "arguments", "bundle", "folder", "needs", "refused"}


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, KeyPair]:
    return {
        "signer": make_key(tmp_path / "keys", "signer"),
        "other": make_key(tmp_path / "keys", "other"),
        "ed25519": make_key(tmp_path / "keys", "ed25519", "ed25519"),
    }


def read_case(name: str) -> dict[str, Any]:
    case: dict[str, Any] = yaml.safe_load((CASES / name / "case.yaml").read_text("utf-8"))
    assert set(case) <= CASE_KEYS, f"{name}: a key that nothing reads"
    assert case["rule"]
    assert case["refused"], f"{name}: a case without an expected refusal checks nothing"
    return case


def skip_where_impossible(case: dict[str, Any], folder: Path) -> None:
    if case.get("needs") == "posix" and os.name != "posix":
        pytest.skip("needs links and FIFOs")
    (folder / "probe").touch()
    if case.get("needs") == "case_sensitive" and (folder / "PROBE").exists():
        pytest.skip("needs a case-sensitive file system")


@pytest.mark.parametrize("name", NAMES)
def test_tampered_bundle_is_refused(
    name: str, tmp_path: Path, keys: dict[str, KeyPair], capsys: pytest.CaptureFixture[str]
) -> None:
    case = read_case(name)
    skip_where_impossible(case, tmp_path)
    signer = keys["signer"].signer
    bundle = make_bundle(tmp_path / "runs", signer, **case.get("bundle", {}))
    other = make_bundle(tmp_path / "others", signer, error="another run", verdict="failed")
    if "bundle" not in case:
        assert verify_evidence.main([str(bundle), "--key", str(keys["signer"].public)]) == 0
    capsys.readouterr()
    tampering = Tampering(bundle, keys, other)
    for step in case.get("steps", []):
        tampering.do(step)
    bundle = bundle.rename(bundle.with_name(case.get("folder", bundle.name)))
    public = keys[case.get("key", "signer")].public
    code = verify_evidence.main([str(bundle), "--key", str(public), *case.get("arguments", [])])
    output = capsys.readouterr().out
    assert code == Exit.FAILED, output
    assert output.startswith("REFUSED ")
    for words in case["refused"]:
        assert words in output


def test_every_list_of_the_design_has_its_case() -> None:
    wanted = (
        "changed_byte truncated_trace removed extra renamed symlink fifo crlf parent_path "
        "duplicate_line dropped_line stripped_signature other_key other_algorithm other_commit "
        "duplicate_json_key case_fold_twins absolute_path stale edited_verify_page "
        "swapped_attestation extra_beside_evidence attestation_result_flipped empty_evidence"
    )
    assert set(wanted.split()) <= set(NAMES)
