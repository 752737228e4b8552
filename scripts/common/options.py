"""Options that several scripts share, so that they mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).resolve().parents[2]
REFERENCE_STACK = ROOT / "compose/reference/stack.yaml"
ARTIFACTS = ROOT / "proof_pack_artifacts"


def add_stack(parser: argparse.ArgumentParser) -> None:
    """`--stack`: the system under proof."""
    parser.add_argument(
        "--stack",
        type=Path,
        default=REFERENCE_STACK,
        metavar="FILE",
        help="the stack file (default: the reference system)",
    )


def add_output_dir(parser: argparse.ArgumentParser) -> None:
    """`--output-dir`: where run folders go."""
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=ARTIFACTS,
        metavar="DIR",
        help="where the run folder goes (default: proof_pack_artifacts in the checkout)",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What every script has that starts a system and seals evidence."""
    add_stack(parser)
    add_output_dir(parser)
    add = parser.add_argument
    add("--runtime", metavar="NAME", help="a runtime of the stack file (default: its first)")
    add("--targets", default="local", metavar="SET", help="a target set (default: local)")
    add("--key", help="a PEM private key or signer URI (default: your own, made on first use)")
    add("--public-key", type=Path, metavar="FILE", help="the public key of a signer URI")
    add("--json", action="store_true", help="print the summary as JSON, the steps on stderr")
