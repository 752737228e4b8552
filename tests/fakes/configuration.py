"""A configuration to validate: the fake stack with changes, looked at by one check."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import yaml

from configuration.gather import gather
from configuration.registry import CHECKS
from configuration.validation import run_checks
from fakes.system import stack_value, write_value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from configuration.live import Live
    from configuration.model import Result, Subject

# 64 hex digits, as a run makes them; this one is nobody's.
STRONG = "9f1c7be2a05d4683b7e0c1f29a4d58e63c07b1e8d92f4a6510be3d7c8f2a9164"
OTHER = "41d8e0b7c3f92a6588d107ce3b9fa2645e70c1bd9834fa62e7105bc98d3f2ab6"


class Configured:
    """A folder with a stack file, and what the checks say of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.value = stack_value()
        self.value["runtimes"]["process"]["environment"] = {"KEY": "{secret:FAKE_KEY}"}
        self.environ: dict[str, str] = {}
        self.env_files: list[Path] = []

    def tell(self, **variables: str) -> None:
        """Variables of every service."""
        self.value["runtimes"]["process"]["environment"] |= variables

    def compose(self, services: Mapping[str, Any] | None = None, **more: Any) -> None:
        """A Compose file; its services join those that every such file has."""
        known: dict[str, Any] = {"front": {"image": "app"}, "jobs": {"image": "app"}}
        value = {"services": {**known, **(services or {})}, **more}
        (self.folder / "compose.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
        self.value["runtimes"] = {"compose": {"file": "compose.yaml"}}
        self.value["stores"] = {"results": {"compose": {"kind": "redis", "location": "redis://x"}}}

    def env_file(self, text: str, name: str = "settings.env") -> None:
        """An env file that is named on the command line."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        self.env_files.append(path)

    def subject(self, *, live: Live | None = None, state: Path | None = None) -> Subject:
        """What the checks look at."""
        path = write_value(self.folder, self.value)
        environ = {"FAKE_KEY": STRONG, "PATH": os.environ["PATH"], **self.environ}
        return gather(path, environ=environ, env_files=self.env_files, state=state, live=live)

    def result(self, name: str, **around: Any) -> Result:
        """What one check says."""
        checks = [check for check in CHECKS if check.name == name]
        assert len(checks) == 1, name
        (found,) = run_checks(self.subject(**around), checks=checks)
        return found

    def outcome(self, name: str, **around: Any) -> str:
        """The outcome of one check."""
        return self.result(name, **around).outcome

    def problems(self, name: str, **around: Any) -> str:
        """All problems of one check in one text; "" where there is none."""
        rows = self.result(name, **around).problems
        return "\n".join(f"{row.place}: {row.problem}" for row in rows)
