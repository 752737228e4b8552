"""The virtual environment of a stack's own programs: one for each lock, in the user's cache."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from common import log
from common.cli import ConfigurationError, ScriptError
from common.folders import ROOT, cache_folder
from common.hashing import sha256_bytes

_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
_COMPLETE = ".complete"


def locked_versions(requirements: Path) -> dict[str, str]:
    """Name and version of every entry of a requirement lock.

    Raises:
        ConfigurationError: the lock is missing, holds nothing, or an entry has no hash.
    """
    if not requirements.is_file():
        raise ConfigurationError(f"no requirement lock {requirements}: run `nox -s lock`")
    text = requirements.read_text("utf-8").replace("\\\n", " ")
    found: dict[str, str] = {}
    for line in filter(None, (raw.split("#")[0].strip() for raw in text.splitlines())):
        pin = _PINNED.match(line)
        if not pin or "--hash=sha256:" not in line:
            raise ConfigurationError(
                f"{requirements}: expected `name==version --hash=sha256:…`, got {line[:60]!r}"
            )
        found[pin[1].lower().replace("_", "-")] = pin[2]
    if not found:
        raise ConfigurationError(f"{requirements}: expected locked packages, got none")
    return found


def environment_folder(requirements: Path) -> Path:
    """Where the environment of this lock, Python and platform belongs."""
    locked_versions(requirements)
    identity = f"{platform.python_version()} {platform.platform()}".encode()
    name = sha256_bytes(requirements.read_bytes() + identity)[:16]
    return cache_folder() / "environments" / name


def python_of(folder: Path) -> Path:
    """The interpreter inside a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure_environment(requirements: Path) -> Path:
    """The Python that has exactly the locked packages; built on first use.

    A build that was killed is built anew; concurrent runs build it once.

    Raises:
        ConfigurationError: no lock, or an entry without a hash.
        ScriptError: the installation failed; with the installer's last line.
    """
    from filelock import FileLock

    folder = environment_folder(requirements)
    if (folder / _COMPLETE).is_file():
        return python_of(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / _COMPLETE).is_file():
            log.say(f"building the environment of {requirements.name} (once for each lock)")
            shutil.rmtree(folder, ignore_errors=True)
            _build(folder, requirements)
            (folder / _COMPLETE).write_text("installed with --require-hashes\n")
    return python_of(folder)


def _build(folder: Path, requirements: Path) -> None:
    uv = _find_uv()
    python = str(python_of(folder))
    # Beside the script's own environment its variables would win over --python.
    environment = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    # Where a company's proxy signs the traffic, only the system's certificates know it.
    environment.setdefault("UV_SYSTEM_CERTS", "1")
    lock = ["--require-hashes", "-r", str(requirements)]
    if uv:
        commands = [
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *lock],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", str(folder)],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *lock],
        ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            last = lines[-1].strip()[:300] if lines else f"exit code {done.returncode}"
            raise ScriptError(
                f"can't install the packages of {requirements}: {last}: "
                "check the network and the package index, then run it again"
            )


def _find_uv() -> str | None:
    """The uv of this environment, of the checkout's .venv, or of the user: far faster than pip."""
    scripts = "Scripts" if os.name == "nt" else "bin"
    places = [Path(sys.executable).parent, ROOT / ".venv" / scripts, *os.get_exec_path()]
    return shutil.which("uv", path=os.pathsep.join(map(str, places)))


_FOREIGN = frozenset(
    {
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "PYTHONHOME",
        "UV_CONSTRAINT",
        "PIP_CONSTRAINT",
        "PYTHONDONTWRITEBYTECODE",
    }
)
