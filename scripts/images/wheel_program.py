"""Runs inside the base image: download the locked wheels with that image's own Python.

Copied into a container by `images.wheel_download`, beside the locks and the settings;
standard library only, and nothing of this project.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PIP_OPTIONS = (
    "--require-hashes",
    "--no-deps",
    "--only-binary=:all:",
    "--no-cache-dir",
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar=off",
)


def main(folder: Path) -> int:
    """Download into `folder`/wheels; pip's own exit code."""
    told = folder / "settings.json"
    settings = json.loads(told.read_text("utf-8"))
    told.unlink()  # the index's password stays in no layer of the container
    environment = {**os.environ, **settings["environment"]}
    if (folder / "certificates.pem").is_file():
        environment["PIP_CERT"] = str(folder / "certificates.pem")
    command = [sys.executable, "-m", "pip", "download", *PIP_OPTIONS]
    command += [f"--dest={folder / 'wheels'}"]
    command += [f"--requirement={folder / name}" for name in settings["requirements"]]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
