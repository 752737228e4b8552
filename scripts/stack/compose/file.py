"""The `runtimes.compose` section of a stack file, and what Compose makes of its file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_DEFAULT_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class ComposePython:
    """Where the packages of the stack's lock are inside an image (H1)."""

    service: str
    command: str
    requirements: Path
    imports: tuple[str, ...]


@dataclass(frozen=True)
class ComposeRuntimeFile:
    """The `runtimes.compose` section; texts of `environment` still hold their placeholders.

    `services` maps a service of the stack file to its Compose service where the names differ.
    """

    file: Path
    profiles: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    build: bool = True
    services: Mapping[str, str] = field(default_factory=dict)
    python: ComposePython | None = None


def read_section(item: Mapping[str, Any] | None, here: Path) -> ComposeRuntimeFile | None:
    """Convert a section that the schema has accepted."""
    if item is None:
        return None
    return ComposeRuntimeFile(
        file=here / item["file"],
        profiles=tuple(item.get("profiles", ())),
        environment=item.get("environment", {}),
        build=item.get("build", True),
        services=item.get("services", {}),
        python=_python(item.get("python"), here),
    )


def _python(item: Mapping[str, Any] | None, here: Path) -> ComposePython | None:
    if item is None:
        return None
    return ComposePython(
        item["service"], item["command"], here / item["requirements"], tuple(item["imports"])
    )


@dataclass(frozen=True)
class Composed:
    """What `docker compose config` says: the file with every variable and profile applied."""

    value: Mapping[str, Any]

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """The Compose services that the profiles switch on."""
        found: Mapping[str, Mapping[str, Any]] = self.value.get("services") or {}
        return found

    def image_of(self, name: str) -> str:
        """The image that a service runs.

        Raises:
            ConfigurationError: the profiles know no such service, or it has no image name.
        """
        if name not in self.services:
            known = ", ".join(self.services) or "none"
            raise ConfigurationError(f"expected a Compose service ({known}), got {name!r}")
        image = self.services[name].get("image")
        if not image:
            # Compose would name it after the project, and a project is new in each run.
            raise ConfigurationError(
                f"the Compose service {name} is built but has no image name, so that every run "
                "would leave an image behind: give it `image:`"
            )
        return str(image)

    def secret_files(self) -> dict[str, str]:
        """Each file secret that a service uses: its name and where it is looked for."""
        used = {
            entry["source"] if isinstance(entry, dict) else str(entry)
            for service in self.services.values()
            for entry in service.get("secrets") or ()
        }
        known = self.value.get("secrets") or {}
        return {
            name: str(entry["file"])
            for name, entry in known.items()
            if name in used and entry.get("file")
        }

    def published(self) -> dict[str, int]:
        """A label for each TCP port that is published on a fixed number of the host."""
        found = {}
        for name, service in self.services.items():
            for entry in service.get("ports") or ():
                port = str(entry.get("published", "")) if isinstance(entry, dict) else ""
                if port.isdigit() and int(port) and entry.get("protocol", "tcp") == "tcp":
                    found[f"{name}:{port}"] = int(port)
        return found

    def states_every_grace(self) -> bool:
        """Whether each service writes how long it may take to stop."""
        return all(item.get("stop_grace_period") for item in self.services.values())

    def longest_grace_seconds(self) -> float:
        """The longest `stop_grace_period`; 0 where none is written."""
        texts = [item.get("stop_grace_period") for item in self.services.values()]
        return max((_seconds(str(text)) for text in texts if text), default=0.0)


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if not found or not text:
        return _DEFAULT_GRACE_SECONDS
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return math.fsum((hours * 3600, minutes * 60, seconds, milliseconds / 1000))
