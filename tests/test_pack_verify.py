"""scripts/pack_verify.py (H5): every broken pack of tests/pack is refused for its own reason."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pack_verify
import pytest
import yaml

from common.cli import ConfigurationError, Exit, UsageError
from evidence.judging import FAILED, INCONCLUSIVE, PASSED
from pack import tokens
from pack.checks import CHECKS
from pack.checks_repository import REPOSITORY_CHECKS
from pack.repository import Repository, read_repository
from pack.verify import READING, SHAPE, Wanted, verdict_of, verify_index

if TYPE_CHECKING:
    from pack.verify import Finding

CASES = Path(__file__).parent / "pack"
BROKEN = sorted(path.name for path in CASES.iterdir() if path.name != "good")
DECLARED = (*CHECKS, *REPOSITORY_CHECKS)


def repository_of(name: str, folder: Path) -> Repository:
    """The case's own repository, or the good one's: copied out of git's reach."""
    own = CASES / name / "repo"
    source = own if own.is_dir() else CASES / "good/repo"
    return read_repository(str(shutil.copytree(source, folder / "repo")))


def expected_of(name: str) -> dict[str, Any]:
    case: dict[str, Any] = yaml.safe_load((CASES / name / "expected.yaml").read_text("utf-8"))
    assert set(case) <= {"check", "verdict", "budget", "tokenizer"}, "a key that nothing reads"
    return case


def findings_of(name: str, folder: Path, **changes: Any) -> tuple[Finding, ...]:
    case = expected_of(name)
    wanted = Wanted(case.get("budget"), case.get("tokenizer"))
    data = (CASES / name / "index.json").read_bytes()
    return verify_index(data, repository=repository_of(name, folder), wanted=wanted, **changes)


def test_the_good_pack_passes(tmp_path: Path) -> None:
    """The broken ones differ from it in one thing each."""
    assert {item.outcome for item in findings_of("good", tmp_path)} == {PASSED}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_pack_is_refused_for_its_own_reason_only(name: str, tmp_path: Path) -> None:
    """H5."""
    case, findings = expected_of(name), findings_of(name, tmp_path)
    assert verdict_of(findings) == case["verdict"]
    refused = [item for item in findings if item.outcome == case["verdict"]]
    assert [item.id for item in refused] == [case["check"]]
    assert all(problem and "\n" not in problem for problem in refused[0].problems)
    if case["verdict"] == FAILED:
        words = ("expected", "not JSON", "no canonical JSON")
        assert any(word in refused[0].problems[0] for word in words)


def test_there_are_at_least_25_broken_packs() -> None:
    assert len(BROKEN) >= 25


@pytest.mark.parametrize("check", DECLARED, ids=lambda check: check.id)
def test_without_a_check_a_broken_pack_would_pass(check: Any, tmp_path: Path) -> None:
    """Each check has a case that it alone refuses: none is there for show."""
    cases = [name for name in BROKEN if expected_of(name)["check"] == check.id]
    rest = [item for item in DECLARED if item is not check]
    passing = [
        name
        for name in cases
        if verdict_of(findings_of(name, tmp_path / name, checks=rest)) == PASSED
    ]
    assert passing, f"no case that {check.id} alone refuses"


@pytest.mark.parametrize("name", [READING[0], SHAPE[0]])
def test_reading_and_schema_have_cases_of_their_own(name: str) -> None:
    assert [case for case in BROKEN if expected_of(case)["check"] == name]


def test_ids_of_checks_are_unique_and_say_why() -> None:
    assert len({check.id for check in DECLARED}) == len(DECLARED)
    assert all(check.why.endswith(".") for check in DECLARED)


def test_what_nobody_asked_for_is_not_said_to_be_as_asked(tmp_path: Path) -> None:
    """One check less, not one passed on nothing."""
    data, repository = (CASES / "good/index.json").read_bytes(), repository_of("good", tmp_path)
    asked = verify_index(data, repository=repository, wanted=Wanted(budget_tokens=2000))
    silent = verify_index(data, repository=repository)
    assert {item.id for item in asked} - {item.id for item in silent} == {"as-asked"}


def test_no_checks_at_all_are_inconclusive() -> None:
    assert verdict_of([]) == INCONCLUSIVE


def test_without_a_repository_nothing_is_looked_up_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Hashes that nobody compared are not hashes that fit."""
    assert pack_verify.main([str(CASES / "good/index.json")]) == Exit.INCONCLUSIVE
    said = capsys.readouterr().out
    assert "INCONCLUSIVE" in said
    assert "no repository was given: add --repo" in said


def test_the_script_says_passed_failed_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = ["--repo", str(shutil.copytree(CASES / "good/repo", tmp_path / "repo"))]
    good, bad = str(CASES / "good/index.json"), str(CASES / "tokens_moved/index.json")
    assert pack_verify.main([good, *repo, "--budget", "2000"]) == Exit.PASSED
    assert pack_verify.main([good, *repo, "--budget", "1999"]) == Exit.FAILED
    assert "budget_tokens: expected 1999, got 2000" in capsys.readouterr().out
    assert pack_verify.main([bad, *repo, "--json"]) == Exit.FAILED
    value = json.loads(capsys.readouterr().out)
    assert value["verdict"] == FAILED
    assert [row["id"] for row in value["checks"] if row["outcome"] != PASSED] == ["tokens"]


def test_bad_arguments_are_one_line(tmp_path: Path) -> None:
    good = str(CASES / "good/index.json")
    with pytest.raises(UsageError, match="no such file"):
        pack_verify.main([str(tmp_path / "none.json")])
    with pytest.raises(UsageError, match="expected a regular file, got a folder"):
        pack_verify.main([str(tmp_path)])
    with pytest.raises(UsageError, match="expected a folder or a git URL"):
        pack_verify.main([good, "--repo", str(tmp_path / "none")])
    with pytest.raises(ConfigurationError, match="expected files, got none"):
        pack_verify.main([good, "--repo", str(tmp_path)])
    with pytest.raises(UsageError, match="whole number"):
        pack_verify.main([good, "--budget", "0"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are POSIX")
def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index.json")
    with pytest.raises(UsageError, match="FIFO"):
        pack_verify.main([str(tmp_path / "index.json")])


def test_a_flipped_byte_is_never_passed_and_never_a_traceback(tmp_path: Path) -> None:
    repository = repository_of("good", tmp_path)
    good = (CASES / "good/index.json").read_bytes()
    dice = random.Random(42)  # noqa: S311 - a fixed sequence of places
    for _ in range(300):
        place, value = dice.randrange(len(good)), dice.randrange(256)
        data = good[:place] + bytes([value]) + good[place + 1 :]
        if data != good:
            verdict = verdict_of(verify_index(data, repository=repository))
            assert verdict != PASSED, (place, value)


def test_a_cut_index_is_refused(tmp_path: Path) -> None:
    repository = repository_of("good", tmp_path)
    good = (CASES / "good/index.json").read_bytes()
    for length in range(0, len(good), 97):
        assert verdict_of(verify_index(good[:length], repository=repository)) == FAILED


def test_a_vocabulary_that_is_not_here_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count that nobody could repeat is not a count that fits."""
    monkeypatch.delenv(tokens.CACHE_VARIABLE, raising=False)
    vocabulary = tokens.known("cl100k")
    assert vocabulary
    assert tokens.counter.__wrapped__(vocabulary) is None
    (tmp_path / vocabulary.file_name).write_bytes(b"aGVsbG8= 0\n")
    monkeypatch.setenv(tokens.CACHE_VARIABLE, str(tmp_path))
    assert tokens.counter.__wrapped__(vocabulary) is None, "another file under the same name"


def test_both_copies_of_the_bundled_vocabulary_are_the_known_one() -> None:
    from services.executor.pack import tokens as theirs

    scripts = Path(tokens.__file__).with_name(theirs.BUNDLED.file_name)
    service = Path(theirs.__file__).parent / "vocabulary" / theirs.BUNDLED.file_name
    assert scripts.read_bytes() == service.read_bytes()
    assert theirs.BUNDLED.sha256 == getattr(tokens.known(theirs.BUNDLED.name), "sha256", None)
    assert theirs.CL100K.sha256 == getattr(tokens.known(theirs.CL100K.name), "sha256", None)
