"""What the tests of the reference image share: builds without a network, and one-off runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

REFERENCE = Path(__file__).resolve().parents[2] / "compose/reference"
PYTHON_IMAGE = os.environ.get("PYTHON_IMAGE", "python:3.13.11-slim-trixie")
# No build may keep this: it stands for the credentials in an index URL.
CANARY = "canary-7f3a1c9e5b"
HARDENED = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"),
    *("--network", "none", "--tmpfs", "/tmp:size=64m,mode=1777,noexec"),  # noqa: S108 - in a container
)


def docker(*arguments: str, timeout_seconds: int = 120) -> subprocess.CompletedProcess[str]:
    """One docker command; its output and code."""
    return subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_seconds,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
    )


def build(
    tag: str, *options: str, context: Path = REFERENCE, arguments: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Build the production stage from the wheel folder, with no network."""
    lock = hashlib.sha256((context / "requirements.txt").read_bytes()).hexdigest()
    told = {
        "PYTHON_IMAGE": PYTHON_IMAGE,
        "WHEELS_ONLY": "1",
        "LOCK_SHA256": lock,
        "PIP_INDEX_URL": f"http://user:{CANARY}@127.0.0.1:9/simple",
        **(arguments or {}),
    }
    given = [part for name, value in told.items() for part in ("--build-arg", f"{name}={value}")]
    command = ["build", "--progress=plain", "--network=none", "--target=production", *given]
    return docker(*command, *options, "--tag", tag, str(context), timeout_seconds=300)


def run_hardened(image: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as compose.yaml would: read-only, no capability, no network."""
    return docker("run", "--rm", *HARDENED, image, *command)
