"""Rotate or revoke the services' keys, without a restart: `python -m services.rotate_keys`.

    python -m services.rotate_keys --all                    a new key for each of the six
    python -m services.rotate_keys gateway --overlap 60     the old one is good for 60 s more
    python -m services.rotate_keys --revoke KID             refused at once and for ever
    python -m services.rotate_keys --list                   who has which keys, until when

KEYS_FOLDER, or STATE_FOLDER, says where the keys are. docs/service-tokens.md tells more.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from services.kit.environment import SettingsError
from services.kit.ports import SYSTEM_SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

BAD_ARGUMENTS = 64
_LEAST_OVERLAP_SECONDS, _OVERLAP_SECONDS, _LONGEST_OVERLAP_SECONDS = 5.0, 300.0, 86_400.0


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Do what is asked; 64 where that is unclear, 78 where the keys can't be used."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as ended:
        return BAD_ARGUMENTS if ended.code else 0
    asked = (bool(arguments.services), arguments.all, bool(arguments.revoke), arguments.list)
    if sum(asked) != 1:
        print(
            "error: expected services, --all, --revoke KID or --list: one of them", file=sys.stderr
        )
        return BAD_ARGUMENTS
    os.umask(0o077)
    return _report(arguments, environ)


def _report(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from services.kit.settings import find_keys_folder, refuse_start

    try:
        for line in _done(arguments, find_keys_folder(environ)):
            print(line, flush=True)
    except SettingsError as problem:
        return refuse_start(problem)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        return refuse_start(
            SettingsError(f"can't write {problem.filename}: {reason}: run it as the keys' owner")
        )
    return 0


def _done(arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    from services.kit.rotation import revoke, rotate

    if arguments.list:
        yield from _listed(folder)
    elif arguments.revoke:
        done = revoke(folder, arguments.revoke)
        yield f"{done.service}: {arguments.revoke} is refused; signs with {done.kid}"
    else:
        names = SYSTEM_SERVICES if arguments.all else tuple(dict.fromkeys(arguments.services))
        for done in rotate(folder, names, arguments.overlap):
            ending = ", ".join(done.ending) or "no other"
            yield f"{done.service}: signs with {done.kid}; ending: {ending}"


def _listed(folder: Path) -> Iterator[str]:
    from services.kit.keyring import read_key_set
    from services.kit.keys import key_set_path

    now = time.time()
    for service in SYSTEM_SERVICES:
        found = read_key_set(key_set_path(folder, service))
        for key in found.keys:
            left = "no end" if key.until is None else f"{max(0.0, key.until - now):.0f} s left"
            yield f"{service}: {key.kid}  {left}"
        for kid in found.revoked:
            yield f"{service}: {kid}  revoked"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.rotate_keys",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("services", nargs="*", metavar="SERVICE", type=_service)
    parser.add_argument("--all", action="store_true", help="rotate the keys of all services")
    parser.add_argument(
        "--overlap",
        type=_overlap,
        default=_OVERLAP_SECONDS,
        metavar="SECONDS",
        help="how long old keys are accepted (default: %(default)g)",
    )
    parser.add_argument("--revoke", metavar="KID", help="have one key refused at once")
    parser.add_argument("--list", action="store_true", help="print the keys and their ends")
    return parser


def _service(text: str) -> str:
    if text not in SYSTEM_SERVICES:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(SYSTEM_SERVICES)}")
    return text


def _overlap(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not _LEAST_OVERLAP_SECONDS <= seconds <= _LONGEST_OVERLAP_SECONDS:
        wanted = f"{_LEAST_OVERLAP_SECONDS:g} to {_LONGEST_OVERLAP_SECONDS:g}"
        raise argparse.ArgumentTypeError(f"expected {wanted} seconds, got {text!r}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
