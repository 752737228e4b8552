"""verify_newest.py: the newest bundle, and a key that is never made or taken from it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import verify_newest
from bundles import make_bundle, make_key

from common.cli import ConfigurationError, Exit, UsageError
from evidence.key_store import own_key
from evidence.keys import load_signer

if TYPE_CHECKING:
    from pathlib import Path


def test_the_newest_bundle_is_verified_with_the_own_key(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "runs", load_signer(str(own_key()[0])))
    assert verify_newest.main(["--output-dir", str(tmp_path / "runs")]) == Exit.PASSED
    (bundle / "evidence/executor_logs.txt").write_text("other")
    assert verify_newest.main(["--output-dir", str(tmp_path / "runs")]) == Exit.FAILED


def test_a_bundle_of_another_key_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_key()
    other = make_key(tmp_path)
    make_bundle(tmp_path / "runs", other.signer)
    arguments = ["--output-dir", str(tmp_path / "runs")]
    assert verify_newest.main(arguments) == Exit.FAILED
    assert "signature" in capsys.readouterr().out
    assert verify_newest.main([*arguments, "--key", str(other.public)]) == Exit.PASSED


def test_a_failed_run_fails_where_a_passed_one_is_required(tmp_path: Path) -> None:
    make_bundle(tmp_path / "runs", load_signer(str(own_key()[0])), verdict="failed")
    arguments = ["--output-dir", str(tmp_path / "runs")]
    assert verify_newest.main(arguments) == Exit.PASSED
    assert verify_newest.main([*arguments, "--require-passed"]) == Exit.FAILED


def test_the_newest_is_by_time_and_then_by_number(tmp_path: Path) -> None:
    names = ("20261120-100000", "20261120-100000-9", "20261120-100000-10", "20251231-235959")
    for name in (*names, "security", "20991231-235959.partial"):
        (tmp_path / name).mkdir()
    assert verify_newest.newest_bundle(tmp_path).name == "20261120-100000-10"
    shutil.rmtree(tmp_path / "20261120-100000-10")
    assert verify_newest.newest_bundle(tmp_path).name == "20261120-100000-9"


def test_without_a_run_or_a_key_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make smoke"):
        verify_newest.main(["--output-dir", str(tmp_path)])
    (tmp_path / "20261120-100000").mkdir()
    with pytest.raises(ConfigurationError, match="no public key"):
        verify_newest.main(["--output-dir", str(tmp_path)])
    assert not (tmp_path / "config").exists()
