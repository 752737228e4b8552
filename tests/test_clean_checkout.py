"""clean_checkout.py: what was made goes, evidence and what belongs to others stays."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import clean_checkout
import pytest

from common.cli import Exit

if TYPE_CHECKING:
    from pathlib import Path

KEPT = ("scripts/a.py", "compose/reference/compose.yaml", "proof_pack_artifacts/20261120-1/x")
CACHES = ("scripts/__pycache__/a.pyc", ".ruff_cache/x", ".hypothesis/x", ".nox/test/x")
MADE = (".venv/bin/python", "compose/reference/wheels/a.whl")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in (*KEPT, *CACHES, *MADE):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return root


@pytest.fixture(autouse=True)
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up docker that notes what it is asked to do."""
    log, program = tmp_path / "calls", tmp_path / "bin/docker"
    program.parent.mkdir()
    log.write_text("")
    program.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "import os; seen = [name for name in os.environ if name.startswith('COMPOSE_')]\n"
        f"open({str(log)!r}, 'a').write(' '.join(sys.argv[1:] + seen) + '\\n')\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.delenv("REFERENCE_IMAGE", raising=False)
    return log


def left(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_all_that_was_made_goes_and_evidence_stays(checkout: Path) -> None:
    assert clean_checkout.main(["--root", str(checkout)]) == Exit.PASSED
    assert left(checkout) == set(KEPT)


def test_caches_alone_leave_the_environment(checkout: Path, calls: Path) -> None:
    clean_checkout.main(["--root", str(checkout), "--caches"])
    assert left(checkout) == {*KEPT, *MADE}
    assert calls.read_text() == ""


def test_evidence_goes_only_when_asked(checkout: Path) -> None:
    clean_checkout.main(["--root", str(checkout), "--evidence"])
    assert left(checkout) == set(KEPT[:2])


@pytest.mark.skipif(os.name == "nt", reason="a program with a #! line")
def test_only_the_own_project_and_image_are_named_to_docker(
    checkout: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "somebody-elses")
    clean_checkout.main(["--root", str(checkout)])
    assert calls.read_text().splitlines() == [
        "compose --profile * down --volumes --timeout 10",
        "image rm proof-pack/reference:local",
    ]


def test_without_docker_or_a_second_time_it_just_ends(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    for _ in range(2):
        assert clean_checkout.main(["--root", str(checkout)]) == Exit.PASSED


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_what_a_link_leads_to_stays(checkout: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("")
    (checkout / ".mypy_cache").symlink_to(outside)
    clean_checkout.main(["--root", str(checkout)])
    assert (outside / "mine").exists()
    assert not (checkout / ".mypy_cache").is_symlink()
