# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Remove what was made in this checkout: caches, environments, wheels, images, containers.

Evidence and keys stay (`--evidence` removes evidence too). Only containers, networks and
volumes of the development project go, and only images that carry our own name. Needs
the standard library only, because .venv goes as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import Exit, make_parser, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
CACHES = (".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "__pycache__", "mutants")
ENVIRONMENTS = (".nox", ".venv")
# Below the checkout: made by `nox -s wheels`.
WHEELS = ("compose/reference/wheels",)
EVIDENCE = ("proof_pack_artifacts",)
IMAGE_VARIABLE, IMAGE = "REFERENCE_IMAGE", "proof-pack/reference:local"
COMPOSE_FOLDER = "compose/reference"
DOCKER_SECONDS = 120
EXAMPLES = ("make clean", "make clean-all", 'make clean-all ARGS="--evidence"')


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--caches", action="store_true", help="remove caches of tools and sessions only")
    add("--evidence", action="store_true", help="remove proof_pack_artifacts as well")
    add("--root", type=Path, default=ROOT, metavar="DIR", help="the checkout (default: this one)")
    return parser.parse_args(argv)


def caches(root: Path) -> Iterator[Path]:
    """Cache folders, wherever tools made them; nothing inside an environment or evidence."""
    kept = {*ENVIRONMENTS, *EVIDENCE, ".git"}
    for folder, names, _ in os.walk(root):
        for name in [name for name in names if name in CACHES]:
            yield Path(folder, name)
        names[:] = [name for name in names if name not in kept and name not in CACHES]


def remove(path: Path) -> bool:
    """Remove a file, link or folder; a link's target stays."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        return False
    if path.exists():
        print(f"could not remove all of {path}", file=sys.stderr)
    print(f"removed {path}")
    return True


def remove_containers(root: Path) -> None:
    """Take down the development project and remove the image; without Docker there is neither."""
    folder = root / COMPOSE_FOLDER
    if not (folder / "compose.yaml").is_file() or shutil.which("docker") is None:
        return
    down = ("compose", "--profile", "*", "down", "--volumes", "--timeout", "10")
    image = os.environ.get(IMAGE_VARIABLE, IMAGE)
    # COMPOSE_PROJECT_NAME or COMPOSE_FILE of the caller would name another project.
    environment = {key: text for key, text in os.environ.items() if key[:8] != "COMPOSE_"}
    for arguments in (down, ("image", "rm", image)):
        try:
            done = subprocess.run(
                ("docker", *arguments),
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=DOCKER_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            print(f"docker {arguments[0]}: {problem}", file=sys.stderr)
            return
        if done.returncode == 0:
            print(f"done: docker {' '.join(arguments)}")


def main(argv: Sequence[str] | None = None) -> Exit:
    """Remove, and say what was removed."""
    options = parse(argv)
    root = options.root.resolve()
    wanted = [*caches(root), root / ".nox"]
    if not options.caches:
        remove_containers(root)
        wanted += [root / name for name in (*WHEELS, *ENVIRONMENTS)]
    if options.evidence:
        wanted += [root / name for name in EVIDENCE]
    for path in wanted:
        remove(path)
    return Exit.PASSED


if __name__ == "__main__":
    run(main)
