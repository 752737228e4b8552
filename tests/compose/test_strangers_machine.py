"""A bundle is checked on a machine that has none of our code, no network and no write access."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from bundles import make_bundle, make_key

from evidence.verify_page import verification_commands

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.docker
IMAGE = os.environ.get("PYTHON_IMAGE", "python:3.13-slim")


def check_in_container(bundle: Path, public: Path, signer: object) -> list[int]:
    """Exit codes of the two printed commands, run literally at the same paths."""
    codes = []
    for command in verification_commands(bundle, signer):  # type: ignore[arg-type]
        done = subprocess.run(
            [
                *("docker", "run", "--rm", "--network", "none", "--read-only"),
                *("--volume", f"{bundle}:{bundle}:ro", "--volume", f"{public}:{public}:ro"),
                *(IMAGE, "bash", "-c", f"set -o pipefail; {command}"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        codes.append(done.returncode)
    return codes


def test_the_two_commands_accept_a_good_bundle(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    bundle = make_bundle(tmp_path, key.signer)
    assert check_in_container(bundle, key.public, key.signer) == [0, 0]


def test_the_two_commands_refuse_a_changed_file_and_a_changed_manifest(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    bundle = make_bundle(tmp_path, key.signer)
    (bundle / "evidence" / "extra.txt").write_text("planted")
    assert check_in_container(bundle, key.public, key.signer) == [0, 1]
    (bundle / "sha256_manifest.txt").write_text(f"# {datetime.now(UTC)}\n")
    assert check_in_container(bundle, key.public, key.signer) == [1, 1]
