# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cryptography>=45",
#     "jsonschema",
#     "platformdirs>=4.3",
#     "psutil",
#     "pyyaml",
#     "requests",
#     "rfc8785",
#     "rich",
#     "urllib3",
#     "zstandard",
# ]
# ///
"""Back up a system's stores while it runs, check and restore backups, and keep the right ones (G4).

`backup` writes one archive to --destination; `restore` puts it in place of the stores of a
stopped system, or into a folder of its own; `verify` restores it into a scratch folder and looks
at each store. An archive is believed only after all of it was checked: docs/backup.md.

exit codes: 0 done; 1 damaged or refused; 2 could not be done; 64 bad arguments;
78 bad configuration, or not the key; 130 interrupted.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import (
    ConfigurationError,
    Exit,
    ScriptError,
    UsageError,
    make_parser,
    positive_int,
    run,
)
from common.options import add_stack

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from backup.archive import Archive
    from backup.listing import Listed
    from backup.manifest import Manifest
    from stack.model import Stack, Store

MIB = 1 << 20
EXAMPLES = (
    "python scripts/backup_restore.py backup --destination backups --encrypt-key backup.key",
    "python scripts/backup_restore.py verify backups/reference-20261121-210000.tar.zst",
    "python scripts/backup_restore.py restore ARCHIVE --into scratch",
    "python scripts/backup_restore.py restore ARCHIVE --location queue=/srv/queue.db --replace",
    "python scripts/backup_restore.py list --destination backups",
    "python scripts/backup_restore.py prune --destination backups --keep-daily 7 --dry-run",
)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    parser = make_parser(__doc__, EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, allow_abbrev=False)
        added.add_argument("--json", action="store_true", help="print the result as JSON")
        added.add_argument(
            "--encrypt-key", type=Path, metavar="FILE", help="32 random bytes or more, mode 0600"
        )
        return added

    backup = command("backup", "write one archive of the stores, of a running system too")
    restore = command("restore", "check an archive in full, then put its stores in place")
    verify = command("verify", "check an archive in full, and restore it into a scratch folder")
    listing = command("list", "every finished backup, each byte checked")
    prune = command("prune", "remove good backups that no rule keeps; never the newest")
    for added in (restore, verify):
        added.add_argument("archive", type=Path, metavar="ARCHIVE")
    for added in (backup, listing, prune):
        where = "a folder of backups"
        added.add_argument("--destination", type=Path, required=True, metavar="DIR", help=where)
    for added in (backup, restore):
        _add_places(added)
    restore.add_argument("--into", type=Path, metavar="FOLDER", help="restore there, not in place")
    restore.add_argument("--replace", action="store_true", help="move what is in place aside")
    known = "restore this other system's archive knowingly"
    restore.add_argument("--system", metavar="NAME", help=known)
    where = "where to restore for a look (default: temporary files)"
    verify.add_argument("--scratch", type=Path, metavar="DIR", help=where)
    listing.add_argument("--quick", action="store_true", help="manifests only; calls none good")
    prune.add_argument("--dry-run", action="store_true", help="say what would be removed")
    for rule in ("last", "hourly", "daily", "weekly"):
        prune.add_argument(f"--keep-{rule}", type=positive_int, default=0, metavar="N")
    return parser.parse_args(argv)


def _add_places(parser: argparse.ArgumentParser) -> None:
    add_stack(parser)
    add = parser.add_argument
    add("--runtime", metavar="NAME", help="a runtime of the stack file (default: its first)")
    add("--state", type=Path, metavar="DIR", help="the state folder (default: of what runs now)")
    add("--store", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    where = "where a store is, instead of the stack file's place; repeatable"
    add("--location", action="append", default=[], metavar="NAME=PATH", help=where)


def backup(options: argparse.Namespace) -> Exit:
    """Make one backup and say where it is."""
    from backup.destination import LocalFolder
    from backup.make import System, make_backup
    from common.progress import Progress
    from evidence.envelope import contract_sha256

    stack, runtime, stores = _system(options)
    system = System(stack.name, contract_sha256(stack), runtime)
    key = _key(options)
    total = sum(map(_size_bytes, stores))
    with Progress("MiB packed", total // MIB) as bar:
        made = make_backup(
            system,
            stores,
            LocalFolder(options.destination),
            key=key,
            progress=lambda count: bar.update(count // MIB),
        )
    size = made.path.stat().st_size
    _warn(made.manifest)
    value = {"path": str(made.path), "size_bytes": size, "manifest": made.manifest.value}
    _say(options, value, f"PASSED  {made.path}", *_store_lines(made.manifest))
    return Exit.PASSED


def restore(options: argparse.Namespace) -> Exit:
    """Restore one archive and say where its stores are."""
    from backup.errors import RefusedError
    from backup.restore import restore_in_place, restore_into

    if options.into and (options.replace or options.location or options.state):
        raise UsageError("--into restores there: leave out --replace, --location and --state")
    with _opened(options) as archive:
        from stack.load import load_stack

        wanted = options.system or load_stack(options.stack).name
        if archive.manifest.system != wanted:
            raise RefusedError(
                f"expected a backup of {wanted}, got one of {archive.manifest.system}: give "
                f"--system {archive.manifest.system} to restore it all the same"
            )
        places = () if options.into else _system(options, archive.manifest)[2]
        _read_all(archive)
        if options.into:
            names = options.store or [store.name for store in archive.manifest.stores]
            stores = [archive.manifest.store(name) for name in names]
            done = restore_into(archive, options.into, stores)
        else:
            done = restore_in_place(archive, places, replace=options.replace)
        point = archive.manifest.value["recovery_point_utc"]
    lines = [f"restored {path}" for path in done.targets]
    lines += [f"the old one is in {path}" for path in done.asides]
    value = {
        "targets": [str(path) for path in done.targets],
        "asides": [str(path) for path in done.asides],
        "recovery_point_utc": point,
    }
    _say(options, value, f"PASSED  {options.archive}: as of {point}", *lines)
    return Exit.PASSED


def verify(options: argparse.Namespace) -> Exit:
    """Check one archive by restoring it."""
    from backup.restore import verify_restored

    try:
        with _opened(options) as archive:
            _read_all(archive)
            verify_restored(archive, options.scratch)
            manifest = archive.manifest
    except ScriptError as problem:
        if not options.json:
            raise
        verdict = "failed" if problem.code == Exit.FAILED else "inconclusive"
        print(json.dumps({"verdict": verdict, "problem": str(problem)}, indent=2))
        return Exit(problem.code)
    value = {"verdict": "passed", "problem": "", "manifest": manifest.value}
    _say(options, value, f"PASSED  {options.archive}", *_store_lines(manifest))
    return Exit.PASSED


def list_backups(options: argparse.Namespace) -> Exit:
    """Show every finished backup and its state."""
    rows = _listed(options, quick=options.quick)
    lines = [
        f"{row.state:9}  {_point(row)}  {_human(row.size_bytes):>10}  {row.name}" for row in rows
    ]
    lines += [f"{row.name}: {row.problem}" for row in rows if row.problem]
    head = f"{'state':9}  {'recovery point':24}  {'size':>10}  file"
    value = {"backups": [row.as_json() for row in rows]}
    _say(options, value, head if rows else f"no backup in {options.destination}", *lines)
    if not rows:
        return Exit.INCONCLUSIVE
    states = {row.state for row in rows}
    if "damaged" in states:
        return Exit.FAILED
    return Exit.PASSED if states == {"good"} else Exit.INCONCLUSIVE


def prune(options: argparse.Namespace) -> Exit:
    """Remove what no rule keeps."""
    from backup.destination import LocalFolder
    from backup.retention import Keep
    from backup.retention import kept as kept_by

    names = ("last", "hourly", "daily", "weekly")
    rules = Keep(**{name: getattr(options, f"keep_{name}") for name in names})
    if rules == Keep():
        raise UsageError(
            "expected a rule, such as --keep-last 5: without one only the newest stays"
        )
    rows = _listed(options, quick=False)
    if locked := [row for row in rows if row.state == "locked"]:
        raise UsageError(f"{locked[0].name}: {locked[0].problem}: what it is must be known")
    kept: dict[str, tuple[str, ...]] = {}
    removed = []
    for system in sorted({row.name.system for row in rows}):
        good = [row for row in rows if row.name.system == system and row.state == "good"]
        times = {str(row.name): row.recovery_point for row in good if row.recovery_point}
        kept |= kept_by(times, rules)
        removed += [row.name for row in good if str(row.name) not in kept]
    for name in removed:
        if not options.dry_run:
            LocalFolder(options.destination).remove(name)
    word = "would remove" if options.dry_run else "removed"
    lines = [f"{word}  {name}" for name in removed]
    lines += [f"kept  {name}  ({', '.join(why)})" for name, why in kept.items()]
    left = [str(row.name) for row in rows if row.state != "good"]
    lines += [f"left, damaged  {name}" for name in left]
    value = {
        "dry_run": options.dry_run,
        "removed": [str(name) for name in removed],
        "kept": {name: list(why) for name, why in kept.items()},
        "damaged": left,
    }
    _say(options, value, f"{word} {len(removed)}, kept {len(kept)}, damaged {len(left)}", *lines)
    return Exit.FAILED if left else Exit.PASSED


COMMANDS = {
    "backup": backup,
    "restore": restore,
    "verify": verify,
    "list": list_backups,
    "prune": prune,
}


def main(argv: Sequence[str] | None = None) -> Exit:
    """Run one command."""
    options = arguments(argv)
    if os.name == "nt":
        raise ConfigurationError(
            "expected Linux or macOS, got Windows, where files can't be made below a handle of "
            "their folder: run it in WSL"
        )
    return COMMANDS[options.command](options)


def _system(
    options: argparse.Namespace, manifest: Manifest | None = None
) -> tuple[Stack, str, tuple[Store, ...]]:
    """The stack, the runtime and its stores; of a restore, those that are in the backup."""
    from backup.places import parse_locations, stores_of
    from stack.load import load_stack

    stack = load_stack(options.stack)
    runtime = options.runtime or stack.runtimes[0]
    only = options.store or ([store.name for store in manifest.stores] if manifest else [])
    stores = stores_of(
        stack,
        runtime,
        state=options.state and options.state.absolute(),
        locations=parse_locations(options.location),
        only=only,
    )
    return stack, runtime, stores


def _opened(options: argparse.Namespace) -> Archive:
    from backup.archive import Archive

    return Archive.open(options.archive, _key(options))


def _read_all(archive: Archive) -> None:
    from backup.restore import verify_archive
    from common.progress import Progress

    with Progress("MiB checked", archive.manifest.tar_size_bytes // MIB) as bar:
        verify_archive(archive, lambda count: bar.update(count // MIB))


def _listed(options: argparse.Namespace, *, quick: bool) -> list[Listed]:
    from backup.destination import LocalFolder
    from backup.listing import listed
    from common.progress import Progress

    destination = LocalFolder(options.destination)
    with Progress("checked", len(destination.names())) as bar:
        return listed(destination, _key(options), quick=quick, progress=bar.update)


def _key(options: argparse.Namespace) -> bytes | None:
    from backup.encryption import read_key

    return read_key(options.encrypt_key) if options.encrypt_key else None


def _size_bytes(store: Store) -> int:
    """About what packing a store takes: for the progress only."""
    path = Path(store.location)
    try:
        inner = path.rglob("*") if path.is_dir() else (path,)
        return sum(item.lstat().st_size for item in inner)
    except OSError:
        return 0


def _warn(manifest: Manifest) -> None:
    from common import log

    for store in manifest.stores:
        if store.facts.get("wal_reset_risk"):
            log.warn(
                f"{store.name}: SQLite {store.facts['library_version']} here, "
                f"{store.facts['writer_version'] or 'unknown'} of its writer: the WAL-reset bug is "
                "in 3.7.0 to 3.51.2 (fixed in 3.51.3, 3.50.7, 3.44.6)"
            )
        if strays := store.facts.get("foreign_key_violations"):
            log.warn(f"{store.name}: {strays} rows refer to rows that are not there")


def _store_lines(manifest: Manifest) -> list[str]:
    lines = [f"as of {manifest.value['recovery_point_utc']}, tar {manifest.tar_sha256}"]
    for store in manifest.stores:
        files = sum(not entry.folder for entry in store.entries)
        size = _human(store.size_bytes)
        lines.append(f"{store.name} ({store.kind}): {files} files, {size}, {store.digest}")
    return lines


def _point(row: Listed) -> str:
    return str(row.manifest.value["recovery_point_utc"]) if row.manifest else "-" * 24


def _human(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.1f} MiB" if size_bytes >= MIB else f"{size_bytes} bytes"


def _say(options: argparse.Namespace, value: dict[str, Any], *lines: str) -> None:
    if options.json:
        print(json.dumps(value, indent=2, sort_keys=True))
        return
    print(lines[0], *(f"  {line}" for line in lines[1:]), sep="\n")


if __name__ == "__main__":
    run(main)
