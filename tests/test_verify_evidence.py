"""verify_evidence.py: exit codes, what it prints, what the reader may demand.

What it refuses stands in tests/evidence/tamper/.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import verify_evidence
from bundles import COMMIT, finish, make_bundle, make_key, open_run

from common.cli import ConfigurationError, Exit, UsageError
from evidence import hash_tree, verify

if TYPE_CHECKING:
    from bundles import KeyPair

    from evidence.public_key import Algorithm

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "verify_evidence.py"
ALGORITHMS: tuple[Algorithm, ...] = ("ecdsa-p256", "ed25519")


@pytest.fixture(params=ALGORITHMS)
def key(request: pytest.FixtureRequest, tmp_path: Path) -> KeyPair:
    return make_key(tmp_path / "keys", "key", request.param)


@pytest.fixture
def bundle(key: KeyPair, tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "runs", key.signer)


def run_verify(bundle: Path, key: KeyPair, *options: str) -> Exit:
    return verify_evidence.main([str(bundle), "--key", str(key.public), *options])


def test_authentic_bundle_says_verdict_and_eligibility(
    bundle: Path, key: KeyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verify(bundle, key) == Exit.PASSED
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"AUTHENTIC {bundle}"
    assert lines[1] == f"run {bundle.name}: PASSED, NOT eligible for a release (self-signed key)"


def test_all_demands_at_once_are_met(bundle: Path, key: KeyPair) -> None:
    options = ["--commit", COMMIT.upper(), "--run-id", bundle.name, "--max-age", "1h"]
    assert run_verify(bundle, key, *options, "--require-passed") == Exit.PASSED


def test_a_renamed_bundle_folder_stays_authentic(bundle: Path, key: KeyPair) -> None:
    assert run_verify(bundle.rename(bundle.with_name("downloaded")), key) == Exit.PASSED


def test_a_link_to_the_bundle_is_the_readers_own(bundle: Path, key: KeyPair) -> None:
    link = bundle.with_name("latest")
    try:
        link.symlink_to(bundle)
    except OSError:
        pytest.skip("needs symbolic links")
    assert run_verify(link, key) == Exit.PASSED


@pytest.mark.parametrize("verdict", ["failed", "inconclusive"])
def test_a_failed_run_is_authentic_but_not_passed(
    verdict: str, key: KeyPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "runs", key.signer, verdict=verdict)
    assert run_verify(bundle, key) == Exit.PASSED
    assert f"{verdict.upper()}, NOT eligible" in capsys.readouterr().out
    assert run_verify(bundle, key, "--require-passed") == Exit.FAILED
    assert f"expected a passed run, got {verdict}" in capsys.readouterr().err


def test_hostile_reasons_cannot_fake_output(
    key: KeyPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reasons = ["x\nAUTHENTIC\x1b[2J run", "\u202eevil"]
    eligible = {"value": False, "reasons": reasons}
    assert run_verify(make_bundle(tmp_path, key.signer, eligible=eligible), key) == Exit.PASSED
    output = capsys.readouterr().out
    assert len(output.splitlines()) == 2
    assert "\x1b" not in output
    assert "\u202e" not in output


def test_json_says_the_same(bundle: Path, key: KeyPair, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verify(bundle, key, "--json") == Exit.PASSED
    document = json.loads(capsys.readouterr().out)
    assert document["authentic"] is True
    assert document["verdict"] == "passed"
    assert document["eligible"] == {"value": False, "reasons": ["self-signed key"]}
    assert (document["run_id"], document["keyid"]) == (bundle.name, key.signer.keyid)


def test_json_of_a_refused_bundle_repeats_no_claim(
    bundle: Path, key: KeyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "extra").touch()
    assert run_verify(bundle, key, "--json", "--require-passed") == Exit.FAILED
    document = json.loads(capsys.readouterr().out)
    assert document["authentic"] is False
    assert document["refusals"]
    assert document["verdict"] is document["run_id"] is None


def test_every_refusal_is_listed(
    bundle: Path, key: KeyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "extra").touch()
    (bundle / "VERIFY.md").write_text("trust me")
    (bundle / "evidence" / "executor_logs.txt").write_text("changed")
    (bundle / "evidence" / "new.txt").write_text("new")
    (bundle / "sha256_manifest.txt.sig").write_bytes(b"")
    assert run_verify(bundle, key, "--commit", "b" * 40, "--run-id", "x") == Exit.FAILED
    output = capsys.readouterr().out
    for words in (
        "'extra'",
        "VERIFY.md",
        "executor_logs",
        "new.txt",
        "signature",
        "commit",
        "run id",
    ):
        assert f"{words}" in output


def test_age_is_counted_from_the_end_of_the_run(key: KeyPair, tmp_path: Path) -> None:
    ended = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    bundle = make_bundle(tmp_path, key.signer, ended_utc=ended)
    assert run_verify(bundle, key, "--max-age", "3h") == Exit.PASSED
    assert run_verify(bundle, key, "--max-age", "1d") == Exit.PASSED
    assert run_verify(bundle, key, "--max-age", "1h") == Exit.FAILED
    assert run_verify(bundle, key, "--max-age", "119m") == Exit.FAILED


@pytest.mark.parametrize(
    "options",
    [
        ["--max-age", "7"],
        ["--max-age", "0d"],
        ["--max-age", "-1d"],
        ["--max-age", "7w"],
        ["--commit", "abc"],
        ["--commit", ""],
        ["--unknown"],
    ],
)
def test_bad_options_are_usage_errors(options: list[str], bundle: Path, key: KeyPair) -> None:
    with pytest.raises(UsageError):
        run_verify(bundle, key, *options)


def test_a_key_is_required(bundle: Path) -> None:
    with pytest.raises(UsageError, match="--key"):
        verify_evidence.main([str(bundle)])


def test_a_missing_key_file_is_a_configuration_error(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected a readable file"):
        verify_evidence.main([str(bundle), "--key", str(tmp_path / "none.pub")])


@pytest.mark.skipif(sys.platform != "linux", reason="no fork there")
@pytest.mark.parametrize("broken", ["key", "layout"])
def test_no_way_out_leaves_the_second_process(
    broken: str, key: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_run(tmp_path / "runs")
    for number in range(300):
        (folder.evidence / f"{number}").touch()
    bundle = finish(folder, key.signer)
    children: list[int] = []
    real = hash_tree.TreeHashing._fork

    def fork(hashing: hash_tree.TreeHashing) -> None:
        real(hashing)
        children.append(hashing._child)

    monkeypatch.setattr(hash_tree.TreeHashing, "_fork", fork)
    monkeypatch.setattr(verify, "_check_layout", lambda _root, result: result.refuse("x", "y"))
    if broken == "key":
        with pytest.raises(ConfigurationError):
            verify_evidence.main([str(bundle), "--key", str(tmp_path / "none.pub")])
    else:
        assert run_verify(bundle, key) == Exit.FAILED
    (child,) = children
    with pytest.raises(ChildProcessError):
        os.waitpid(child, os.WNOHANG)


def test_the_name_of_the_run_itself_with_a_number_is_no_other_run(
    key: KeyPair, tmp_path: Path
) -> None:
    folders = [open_run(tmp_path) for _ in range(2)]
    for folder in folders:
        assert run_verify(finish(folder, key.signer), key) == Exit.PASSED
    first, second = (folder.final for folder in folders)
    second.rename(tmp_path / "kept")
    assert run_verify(first.rename(second), key) == Exit.FAILED


def test_a_key_from_the_bundle_proves_nothing(bundle: Path, key: KeyPair) -> None:
    inside = bundle / "evidence" / "KEY.pub"
    inside.write_bytes(key.public.read_bytes())
    with pytest.raises(ConfigurationError, match="a key from the bundle proves nothing"):
        verify_evidence.main([str(bundle), "--key", str(inside)])


def test_what_is_no_folder_is_a_usage_error(key: KeyPair, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a bundle folder"):
        run_verify(tmp_path / "none", key)


def test_an_empty_folder_is_refused(key: KeyPair, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run_verify(tmp_path / "empty", key) == Exit.FAILED


def test_it_runs_from_any_folder_with_its_documented_codes(
    bundle: Path, key: KeyPair, tmp_path: Path
) -> None:
    codes = {}
    missing = tmp_path / "none.pub"
    for name, argv in {
        "authentic": [bundle, "--key", key.public],
        "bad": [bundle, "--kex", key.public],
        "no key": [bundle, "--key", missing],
        "refused": [bundle.parent, "--key", key.public],
    }.items():
        command = [sys.executable, str(SCRIPT), *map(str, argv)]
        done = subprocess.run(command, cwd=os.sep, capture_output=True, text=True, check=False)
        codes[name] = done.returncode
        assert "Traceback" not in done.stderr
    assert codes == {"authentic": 0, "bad": 64, "no key": 78, "refused": 1}


def test_verifying_loads_no_heavy_package(bundle: Path, key: KeyPair) -> None:
    code = (
        "import sys, verify_evidence as v; v.main(sys.argv[1:]); "
        "print(sorted({'jsonschema', 'jinja2', 'securesystemslib', 'yaml', 'psutil', 'logging'} "
        "& set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(bundle), "--key", str(key.public)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
