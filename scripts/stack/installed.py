"""Installed packages against their lock: names, versions, and every file's recorded hash (H1)."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import ScriptError
from stack.environment import environment_folder, locked_versions

if TYPE_CHECKING:
    from pathlib import Path

# `python -m venv` brings its own installer, which is no part of the system.
_INSTALLERS = frozenset({"pip", "setuptools"})


@dataclass(frozen=True)
class InstalledPackages:
    """What was verified."""

    packages: int
    files: int


def verify_installed(requirements: Path) -> InstalledPackages:
    """Hold the stack's environment against its lock.

    Raises:
        ScriptError: a locked package is missing or has another version, one is there
            that the lock does not name, or an installed file differs from its record.

    Source: H1.
    """
    folder = environment_folder(requirements)
    found = {}
    for distribution in importlib.metadata.distributions(path=[_site_packages(folder)]):
        name = distribution.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        found[name] = distribution
    locked = locked_versions(requirements)
    versions = {name: item.version for name, item in found.items()}
    for name in sorted(found.keys() - locked.keys() - _INSTALLERS):
        raise ScriptError(f"{name} is installed but not in {requirements.name}: {_repair(folder)}")
    files = 0
    for name, wanted in locked.items():
        if name not in found and not _applies_here(requirements, name):
            continue
        if versions.get(name) != wanted:
            got = versions.get(name, "none")
            raise ScriptError(f"{name}: expected {wanted}, got {got}: {_repair(folder)}")
        files += _verify_files(found[name], folder)
    return InstalledPackages(len(found.keys() & locked.keys()), files)


def _verify_files(distribution: importlib.metadata.Distribution, folder: Path) -> int:
    count = 0
    for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        path, recorded = row[0], row[1]
        if not recorded.startswith("sha256="):
            continue
        file = distribution.locate_file(path)
        try:
            digest = hashlib.sha256(file.read_bytes()).digest()  # type: ignore[attr-defined]  # a Path
        except OSError:
            raise ScriptError(f"{path} is missing: {_repair(folder)}") from None
        got = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if got != recorded.removeprefix("sha256="):
            raise ScriptError(
                f"{path} was changed after it was installed: expected {recorded}, "
                f"got sha256={got}: {_repair(folder)}"
            )
        count += 1
    if count == 0:
        name = distribution.metadata["Name"]
        raise ScriptError(f"{name} has no recorded hashes to verify: {_repair(folder)}")
    return count


def _applies_here(requirements: Path, name: str) -> bool:
    """Whether the lock wants the package on this platform (its marker, after the semicolon)."""
    from packaging.requirements import Requirement

    for line in requirements.read_text("utf-8").splitlines():
        entry = line.removesuffix("\\").strip()
        if entry.lower().startswith(f"{name}==") and ";" in entry:
            marker = Requirement(entry).marker
            return marker is None or marker.evaluate()
    return True


def _site_packages(folder: Path) -> str:
    places = [*folder.glob("lib/python*/site-packages"), *folder.glob("Lib/site-packages")]
    if not places:
        raise ScriptError(f"{folder} is no virtual environment: {_repair(folder)}")
    return str(places[0])


def _repair(folder: Path) -> str:
    return f"remove {folder} and run it again"
