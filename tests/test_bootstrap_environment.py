"""scripts/bootstrap_environment.py: .venv by hash, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bootstrap_environment
import pytest

from common.cli import ConfigurationError, Exit, ScriptError

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "uv==0.1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n    # via -r bootstrap\nzip==1\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bootstrap_environment, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap_environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap_environment, "STAMP", tmp_path / ".venv/.complete")
    (tmp_path / "constraints.txt").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text("[dependency-groups]\nbootstrap = []\nscripts = []\n")
    return tmp_path


def test_a_complete_environment_is_left_alone(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / ".venv").mkdir()
    identity = LOCK + (checkout / "pyproject.toml").read_text()
    (checkout / ".venv/.complete").write_text(identity)
    monkeypatch.setattr(bootstrap_environment, "call", lambda *_: pytest.fail("nothing to do"))
    assert bootstrap_environment.main([]) == Exit.PASSED


def test_only_the_locked_uv_is_installed_with_its_hash(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def read_lock(_what: str, *command: str) -> None:
        assert "--require-hashes" in command
        with open(command[-1], encoding="utf-8") as file:  # noqa: PTH123 - a text from argv
            seen.append(file.read())

    monkeypatch.setattr(bootstrap_environment, "call", read_lock)
    bootstrap_environment.install_uv(checkout / "python")
    assert seen == ["uv==0.1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"]


def test_a_uv_with_another_hash_is_refused(checkout: Path) -> None:
    """Real pip, real index or none: neither installs a file with this hash."""
    import sys
    from pathlib import Path as RealPath

    with pytest.raises(ScriptError, match="can't install uv"):
        bootstrap_environment.install_uv(RealPath(sys.executable))
    assert checkout.is_dir()


def test_a_lock_without_uv_is_78(checkout: Path) -> None:
    (checkout / "constraints.txt").write_text("zip==1\n")
    with pytest.raises(ConfigurationError, match="expected a locked uv"):
        bootstrap_environment.install_uv(checkout / "python")


def test_a_build_that_failed_leaves_no_stamp(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(what: str, *_command: str) -> None:
        raise ScriptError(f"{what}: planted")

    monkeypatch.setattr(bootstrap_environment, "call", fail)
    with pytest.raises(ScriptError, match="planted"):
        bootstrap_environment.main([])
    assert not (checkout / ".venv/.complete").exists()
