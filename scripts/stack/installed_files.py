"""What is installed in a site-packages folder, file by file: names, versions, recorded hashes.

Standard library only, and old Pythons too: the same source runs here and, given to
`python -c`, inside an image, where it prints what it found as JSON.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import json
import os
import platform
import sys


def installed_packages(places: list[str]) -> dict[str, dict[str, object]]:
    """Each installed package: its version, how many files agree, and the first that does not."""
    found = {}
    for distribution in importlib.metadata.distributions(path=places):
        name = distribution.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        files, problem = _verify(distribution)
        found[name] = {"version": distribution.version, "files": files, "problem": problem}
    return found


def _verify(distribution: importlib.metadata.Distribution) -> tuple[int, str | None]:
    count = 0
    for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        path, recorded = row[0], row[1]
        if not recorded.startswith("sha256="):
            continue
        try:
            with open(str(distribution.locate_file(path)), "rb") as stream:  # noqa: PTH123 - plain texts work in every Python
                digest = hashlib.sha256(stream.read()).digest()
        except OSError:
            return count, path + " is missing"
        got = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if got != recorded[len("sha256=") :]:
            changed = " was changed after it was installed: expected "
            return count, path + changed + recorded + ", got sha256=" + got
        count += 1
    return count, None if count else distribution.metadata["Name"] + " has no recorded hashes"


def marker_environment() -> dict[str, str]:
    """The values that markers of a lock (PEP 508) ask for."""
    version = platform.python_version_tuple()
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(version[:2]),
        "sys_platform": sys.platform,
    }


def site_packages() -> list[str]:
    """Where this interpreter finds its packages."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


if __name__ == "__main__":
    print(
        json.dumps(
            {"packages": installed_packages(site_packages()), "environment": marker_environment()}
        )
    )
