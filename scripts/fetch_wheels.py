# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "docker",
#     "filelock",
#     "platformdirs",
#     "psutil",
#     "rich",
# ]
# ///
"""Fill the wheel folder of the reference image from its locks, so that it builds with no network.

Downloads inside the base image, with your pip settings, proxies and certificates, and holds
every file against the lock itself. Writes compose/reference/wheels/.
"""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from common import log
from common.cli import ConfigurationError, Exit, make_parser, run
from common.options import ROOT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from images.wheels import Locks, WheelFolder

REFERENCE = ROOT / "compose/reference"
LOCKS = ("requirements.txt", "requirements-ci.txt")
EXAMPLES = (
    "python scripts/fetch_wheels.py",
    "PYTHON_IMAGE=python:3.12-slim python scripts/fetch_wheels.py --json",
    "WHEELS_ONLY=1 BUILD_NETWORK=none docker compose build   # then",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--output-dir", type=Path, default=REFERENCE / "wheels", metavar="DIR", help="the folder")
    add(
        "--requirements",
        type=Path,
        action="append",
        metavar="FILE",
        help="a lock, again for more (default: the reference system's two)",
    )
    add("--image", help="the base image (default: PYTHON_IMAGE, else the Dockerfile's)")
    add("--json", action="store_true", help="print what is in the folder as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> Exit:
    """Fill the folder, unless it is complete."""
    options = parse(argv)
    from images.wheel_download import TIMEOUT_SECONDS, ensure_image
    from images.wheels import complete, read_locks
    from stack.compose.engine import connect

    log.set_quiet(options.json)
    folder: Path = options.output_dir.resolve()
    locks = read_locks(options.requirements or [REFERENCE / name for name in LOCKS])
    refuse_foreign(folder)
    reference = options.image or os.environ.get("PYTHON_IMAGE") or default_image()
    engine = connect(os.environ, TIMEOUT_SECONDS)
    try:
        base = {"image": reference, "id": ensure_image(engine, reference)}
        wheels = complete(folder, locks, base)
        fetched = wheels is None
        if wheels is None:
            from images.wheel_download import download

            variables, certificates = settings()
            with closing(
                download(
                    engine,
                    reference,
                    requirements=locks.contents,
                    settings=variables,
                    certificates=certificates,
                    expected=len(locks.always),
                )
            ) as chunks:
                wheels = fill_from(folder, chunks, locks, base)
    finally:
        engine.close()
    show(folder, wheels, base, fetched=fetched, as_json=options.json)
    return Exit.PASSED


def settings() -> tuple[Mapping[str, str], bytes | None]:
    """What the user's own pip is told: variables and certificates."""
    from images.pip_settings import certificates, pip_environment

    home = Path.home()
    return pip_environment(os.environ, home), certificates(os.environ, home)


def fill_from(
    folder: Path, chunks: Iterable[bytes], locks: Locks, base: Mapping[str, str]
) -> WheelFolder:
    """Fill the folder; two runs at once take turns."""
    from filelock import FileLock

    from common.folders import cache_folder
    from common.streams import buffered
    from images.wheels import fill

    cache_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(cache_folder() / "wheels.lock"):
        part = folder.with_name(f".{folder.name}.partial")
        return fill(folder, buffered(chunks), locks, base, part)


def refuse_foreign(folder: Path) -> None:
    """Never replace a folder that is not ours.

    Raises:
        ConfigurationError: it holds something that this script didn't write.
    """
    from images.wheels import MARKER

    if not folder.exists() or (folder / MARKER).is_file():
        return
    if not folder.is_dir() or any(item.suffix != ".whl" for item in folder.iterdir()):
        raise ConfigurationError(
            f"{folder}: expected a folder of wheels, got another: choose another --output-dir"
        )


def default_image() -> str:
    """The base image that the Dockerfile names."""
    for line in (REFERENCE / "Dockerfile").read_text("utf-8").splitlines():
        name, _, value = line.partition("=")
        if name == "ARG PYTHON_IMAGE":
            return value.strip()
    raise ConfigurationError(f"{REFERENCE / 'Dockerfile'}: expected ARG PYTHON_IMAGE=…, got none")


def show(
    folder: Path, wheels: WheelFolder, base: Mapping[str, str], *, fetched: bool, as_json: bool
) -> None:
    """Print what is in the folder now."""
    if as_json:
        facts = {"folder": str(folder), "fetched": fetched, "base": dict(base)}
        facts |= {"files": dict(wheels.files), "size_bytes": wheels.size_bytes}
        print(json.dumps(facts, indent=2, sort_keys=True))
        return
    state = "downloaded" if fetched else "already complete"
    print(f"{folder}: {len(wheels.files)} wheels, {wheels.size_bytes / 1e6:.1f} MB, {state}")
    print("build with no network, in the folder of compose.yaml:")
    print("  WHEELS_ONLY=1 BUILD_NETWORK=none docker compose --file compose.yaml build")


if __name__ == "__main__":
    run(main)
