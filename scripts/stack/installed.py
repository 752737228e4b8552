"""Installed packages against their lock: names, versions, and every file's recorded hash (H1)."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from stack import installed_files
from stack.environment import environment_folder, locked_versions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# `python -m venv` brings its own installer, which is no part of the system.
_INSTALLERS = frozenset({"pip", "setuptools"})


@dataclass(frozen=True)
class InstalledPackages:
    """What was verified."""

    packages: int
    files: int


def verify_installed(requirements: Path) -> InstalledPackages:
    """Hold the stack's environment in the user's cache against its lock.

    Raises:
        ScriptError: a locked package is missing or has another version, one is there
            that the lock does not name, or an installed file differs from its record.

    Source: H1.
    """
    folder = environment_folder(requirements)
    found = installed_files.installed_packages([_site_packages(folder)])
    environment = installed_files.marker_environment()
    repair = f"remove {folder} and run it again"
    return hold_against_lock(requirements, found, environment, repair)


def probe_source() -> str:
    """The program that looks inside an image: the source of `installed_files` itself."""
    return inspect.getsource(installed_files)


def verify_reported(requirements: Path, report: str, repair: str) -> InstalledPackages:
    """Hold what the program of `probe_source` printed against a lock.

    Raises:
        ScriptError: as `verify_installed`, or the report is none.
    """
    try:
        value: dict[str, Any] = json.loads(report)
        found, environment = value["packages"], value["environment"]
    except (ValueError, LookupError, TypeError):
        raise ScriptError(f"expected a report of packages, got {report[:80]!r}: {repair}") from None
    return hold_against_lock(requirements, found, environment, repair)


def hold_against_lock(
    requirements: Path,
    found: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, str],
    repair: str,
) -> InstalledPackages:
    """Compare packages with a lock.

    Args:
        requirements: the lock.
        found: what `installed_packages` gave.
        environment: what markers are held against.
        repair: what to do, for the error.

    Raises:
        ScriptError: the first difference.
    """
    locked = locked_versions(requirements)
    for name in sorted(found.keys() - locked.keys() - _INSTALLERS):
        raise ScriptError(f"{name} is installed but not in {requirements.name}: {repair}")
    files = 0
    for name, wanted in locked.items():
        if name not in found and not _applies(requirements, name, environment):
            continue
        got = found[name]["version"] if name in found else "none"
        if got != wanted:
            raise ScriptError(f"{name}: expected {wanted}, got {got}: {repair}")
        if problem := found[name]["problem"]:
            raise ScriptError(f"{problem}: {repair}")
        files += int(found[name]["files"])
    return InstalledPackages(len(found.keys() & locked.keys()), files)


def _applies(requirements: Path, name: str, environment: Mapping[str, str]) -> bool:
    """Whether the lock wants the package there (its marker, after the semicolon)."""
    from packaging.requirements import Requirement

    for line in requirements.read_text("utf-8").splitlines():
        entry = line.removesuffix("\\").strip()
        if entry.lower().startswith(f"{name}==") and ";" in entry:
            marker = Requirement(entry).marker
            return marker is None or marker.evaluate(dict(environment))
    return True


def _site_packages(folder: Path) -> str:
    places = [*folder.glob("lib/python*/site-packages"), *folder.glob("Lib/site-packages")]
    if not places:
        raise ScriptError(f"{folder} is no virtual environment: remove {folder} and run it again")
    return str(places[0])
