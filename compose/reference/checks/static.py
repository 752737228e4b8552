"""Look at the image's own code with ruff and mypy --strict: `python -m checks.static`.

The ci stage holds it laid out like the checkout, so that the project's settings, which
are mounted, mean the same there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path("/checkout")
FOLDERS = ("services", "migrations")
CODE = CHECKOUT / "compose/reference"


def commands() -> list[list[str]]:
    """What is run; the caches go to /tmp, nothing else can be written."""
    targets = [str(CODE / name) for name in FOLDERS]
    mypy = [sys.executable, "-m", "mypy", "--cache-dir=/tmp/mypy", str(CODE / "services")]
    ruff = [sys.executable, "-m", "ruff"]
    return [
        [*ruff, "check", "--no-cache", *targets],
        [*ruff, "format", "--no-cache", "--check", *targets],
        mypy,
    ]


def main() -> int:
    """Run the tools in turn; 1 where one finds something, 2 where there is nothing to look at."""
    files = sum(1 for name in FOLDERS for _ in (CODE / name).rglob("*.py"))
    if not files or not (CHECKOUT / "pyproject.toml").is_file():
        print(f"inconclusive: expected code and pyproject.toml in {CHECKOUT}, got {files} files")
        return 2
    codes = [
        subprocess.run(command, cwd=CHECKOUT, check=False).returncode for command in commands()
    ]
    print(f"{files} files, {sum(code == 0 for code in codes)} of {len(codes)} tools passed")
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
