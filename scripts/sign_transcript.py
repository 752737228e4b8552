# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cryptography>=45",
#     "filelock>=3.16",
#     "platformdirs>=4.3",
#     "securesystemslib>=1.3",
# ]
# ///
"""Sign a file, verify its signature, or make a key pair; writes FILE.sig beside FILE.

Exit codes: 0 done or fits, 1 the signature does not fit, 64 bad arguments, 78 no usable key.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import Exit, ScriptError, UsageError, make_parser, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from evidence.public_key import Algorithm

FILE_LIMIT_BYTES = 4 << 30
EXAMPLES = (
    "python scripts/sign_transcript.py keygen --output release-key",
    "python scripts/sign_transcript.py sign boot_transcript.json --key release-key.pem",
    "python scripts/sign_transcript.py verify boot_transcript.json --key release-key.pub",
)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    parser = make_parser(__doc__, EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    sign = commands.add_parser("sign", help="write FILE.sig", allow_abbrev=False)
    sign.add_argument("file", type=Path)
    sign.add_argument("--key", help="PEM private key or signer URI; your own key by default")
    sign.add_argument("--public-key", type=Path, help="the public key of a signer URI (PEM)")
    verify = commands.add_parser("verify", help="check FILE.sig", allow_abbrev=False)
    verify.add_argument("file", type=Path)
    verify.add_argument("--key", type=Path, required=True, help="the signer's public key (PEM)")
    verify.add_argument("--signature", type=Path, help="FILE.sig by default")
    keygen = commands.add_parser("keygen", help="write NAME.pem and NAME.pub", allow_abbrev=False)
    keygen.add_argument("--type", choices=("p256", "ed25519"), default="p256")
    keygen.add_argument("--output", type=Path, default=Path("signing-key"), metavar="NAME")
    return parser.parse_args(argv)


def signature_path(path: Path) -> Path:
    """Where the signature of a file stands by default."""
    return path.with_name(path.name + ".sig")


def read(path: Path) -> bytes:
    """The bytes of a file that was named on the command line.

    Raises:
        UsageError: missing, not a regular file, or unreadable.
    """
    from evidence.files import read_regular

    try:
        return read_regular(path.resolve(), FILE_LIMIT_BYTES)
    except (ScriptError, OSError, RuntimeError) as problem:
        raise UsageError(f"{path}: {problem}") from problem


def sign(options: argparse.Namespace) -> Exit:
    """Write the detached signature."""
    from evidence.keys import load_signer
    from evidence.verify_page import signature_command

    data = read(options.file)
    key = load_signer(options.key, options.public_key)
    signature, target = key.sign(data), signature_path(options.file)
    draft = target.with_name(f".{target.name}.partial")
    try:
        draft.write_bytes(signature)
        draft.replace(target)
    except OSError as problem:
        draft.unlink(missing_ok=True)
        raise UsageError(f"can't write {target}: {(problem.strerror or '').lower()}") from problem
    public = key.public_path or "KEY.pub"
    print(f"wrote {target} with the {key.kind} key {key.keyid[:16]} ({public})")
    print(f"verify with KEY.pub: {signature_command(key.public.algorithm, options.file.name)}")
    return Exit.PASSED


def verify(options: argparse.Namespace) -> Exit:
    """Check a detached signature."""
    from evidence.public_key import WORDS, load_public_key

    key = load_public_key(options.key)
    data = read(options.file)
    signature = read(options.signature or signature_path(options.file))
    if key.accepts(signature, data):
        print(f"signature fits: {options.file} by key {key.keyid[:16]}")
        return Exit.PASSED
    print(
        f"REFUSED {options.file}: expected {WORDS[key.algorithm]} by key {key.keyid[:16]}, "
        f"got {len(signature)} bytes that do not fit: changed file, other key or algorithm"
    )
    return Exit.FAILED


def keygen(options: argparse.Namespace) -> Exit:
    """Make a key pair."""
    from evidence.key_store import make_pair

    algorithm: Algorithm = "ed25519" if options.type == "ed25519" else "ecdsa-p256"
    private, public = make_pair(options.output, algorithm)
    print(f"wrote {private} (keep it secret) and {public} (give it to whoever verifies)")
    return Exit.PASSED


def main(argv: Sequence[str] | None = None) -> Exit:
    """Sign, verify or make keys."""
    options = arguments(argv)
    commands = {"sign": sign, "verify": verify, "keygen": keygen}
    return commands[options.command](options)


if __name__ == "__main__":
    run(main)
