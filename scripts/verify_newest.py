# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cryptography",
#     "platformdirs",
#     "securesystemslib",
# ]
# ///
"""Verify the newest bundle of an output folder with your own public key.

For a bundle that somebody sent you: verify_evidence.py with their key. Writes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ConfigurationError, Exit, UsageError, make_parser, run
from common.options import add_output_dir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

EXAMPLES = ("make verify", "python scripts/verify_newest.py --require-passed")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add_output_dir(parser)
    add = parser.add_argument
    add("--key", type=Path, metavar="FILE", help="the signer's public key (default: your own)")
    add("--require-passed", action="store_true", help="exit 1 unless the run passed")
    add("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def newest_bundle(folder: Path) -> Path:
    """The run folder whose id is the latest; ids of one second count up.

    Raises:
        UsageError: there is none.
    """
    from evidence.claims import RUN_ID

    found = [path for path in folder.glob("*") if path.is_dir() and RUN_ID.fullmatch(path.name)]
    if not found:
        raise UsageError(f"no run in {folder}: make one with `make smoke`, or give --output-dir")
    return max(found, key=lambda path: _order(path.name))


def _order(run_id: str) -> tuple[str, int]:
    # 20261120-234512-10 comes after 20261120-234512-9.
    moment, number = run_id[:15], run_id[16:]
    return moment, int(number or 0)


def own_public_key() -> Path:
    """The user's own public key; verifying makes none.

    Raises:
        ConfigurationError: there is none yet.
    """
    from common.folders import configuration_folder
    from evidence.key_store import PUBLIC_NAME

    path = configuration_folder() / PUBLIC_NAME
    if not path.is_file():
        raise ConfigurationError(f"no public key {path}: give --key, or make a run of your own")
    return path


def main(argv: Sequence[str] | None = None) -> Exit:
    """Find bundle and key, and let verify_evidence.py judge."""
    options = parse(argv)
    import verify_evidence

    arguments = [str(newest_bundle(options.output_dir))]
    arguments += ["--key", str(options.key or own_public_key())]
    arguments += ["--require-passed"] * options.require_passed + ["--json"] * options.json
    return verify_evidence.main(arguments)


if __name__ == "__main__":
    run(main)
