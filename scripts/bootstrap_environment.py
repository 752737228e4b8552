# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Make .venv with nox, uv and the packages of the scripts, every file checked by its hash.

Needs the standard library only. Writes .venv in the checkout; a second run is a no-op
until constraints.txt or pyproject.toml changes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ConfigurationError, Exit, ScriptError, make_parser, run

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / ".complete"
GROUPS = ("bootstrap", "scripts")
EXAMPLES = ("python3 scripts/bootstrap_environment.py", "make bootstrap")


def main(argv: Sequence[str] | None = None) -> Exit:
    """Make or refresh .venv."""
    make_parser(__doc__, EXAMPLES).parse_args(argv)
    sources = [ROOT / "constraints.txt", ROOT / "pyproject.toml"]
    identity = "".join(path.read_text("utf-8") for path in sources)
    if STAMP.is_file() and STAMP.read_text("utf-8") == identity:
        return Exit.PASSED
    print(f"making {VENV} (once, and again when the lock changes)", file=sys.stderr)
    scripts = VENV / ("Scripts" if os.name == "nt" else "bin")
    call("can't make a virtual environment", sys.executable, "-m", "venv", "--clear", str(VENV))
    install_uv(scripts / "python")
    # uv checks every file against the hashes that the constraints name.
    groups = [f"--group={ROOT / 'pyproject.toml'}:{name}" for name in GROUPS]
    pinned = ["--constraint", str(ROOT / "constraints.txt")]
    python = ["--python", str(scripts / "python")]
    uv = str(scripts / "uv")
    call("can't install", uv, "pip", "install", "--quiet", *python, *pinned, *groups)
    STAMP.write_text(identity, "utf-8")
    return Exit.PASSED


def install_uv(python: Path) -> None:
    """Install the locked uv with pip, which checks its hashes.

    Raises:
        ConfigurationError: constraints.txt does not lock uv.
    """
    text = (ROOT / "constraints.txt").read_text("utf-8")
    entry = re.search(r"^uv==.*\n(?:    --hash=.*\n)+", text, re.MULTILINE)
    if not entry:
        raise ConfigurationError("constraints.txt: expected a locked uv, got none: `nox -s lock`")
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "uv.txt")
        # The last hash line may end in a backslash of pip's continuation syntax.
        lock.write_text(entry[0].rstrip().rstrip("\\") + "\n", "utf-8")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        call("can't install uv", *pip, "--no-deps", "--require-hashes", "-r", str(lock))


def call(what: str, *command: str) -> None:
    """Run a command; its last line of output becomes the error.

    Raises:
        ScriptError: the command failed.
    """
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    # Where a company's proxy signs the traffic, only the system's certificates know it.
    environment.setdefault("UV_SYSTEM_CERTS", "1")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        said = " ".join(line.strip() for line in lines[:4])
        raise ScriptError(f"{what}: {said[:400]}: check the network, then run it again")


if __name__ == "__main__":
    run(main)
