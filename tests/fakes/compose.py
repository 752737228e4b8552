"""The fake system in containers: a Compose file and its stack file, on free ports."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from fakes.system import PROGRAM, stack_value, write_value

if TYPE_CHECKING:
    from pathlib import Path

_KEY = 'KEY="$$(cat /run/secrets/FAKE_KEY)"'
PYTHON_IMAGE = os.environ.get("PYTHON_IMAGE", "python:3.13-slim")


def compose_value(stack: dict[str, Any], **faults: str) -> dict[str, Any]:
    """The value of a Compose file for the services of a fake stack, with faults by name."""
    services = {}
    for item in stack["services"]:
        port = urlsplit(item["url"]).port
        check = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/healthz')"
        services[item["name"]] = {
            "image": PYTHON_IMAGE,
            "init": True,
            "user": "${OWNER}",
            "command": ["sh", "-c", f"{_KEY} exec python /service.py {item['name']} {port} /state"],
            "environment": {"FAULT": faults.get(item["name"], ""), "HOST": "0.0.0.0"},  # noqa: S104 - inside a container
            "volumes": [f"{PROGRAM}:/service.py:ro", "${SHARED}:/state"],
            "secrets": ["FAKE_KEY"],
            "ports": [f"127.0.0.1:{port}:{port}"],
            "depends_on": {
                name: {"condition": "service_healthy"} for name in item.get("depends_on", ())
            },
            "healthcheck": {
                "test": ["CMD", "python", "-c", check],
                "interval": "1s",
                "timeout": "2s",
                "retries": 20,
            },
        }
    return {
        "services": services,
        "secrets": {"FAKE_KEY": {"file": "${SECRETS_FOLDER}/FAKE_KEY"}},
    }


def fake_values(**faults: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of a stack file with `runtimes.compose` only, and of its Compose file."""
    stack = stack_value()
    stack["name"] = "hb"
    for item in stack["services"]:
        item["start_seconds"] = 30
    stack["runtimes"] = {
        "compose": {
            "file": "compose.yaml",
            "environment": {"SECRETS_FOLDER": "{secrets}", "SHARED": "{state}", "OWNER": _owner()},
        }
    }
    stack["stores"]["results"] = {
        "compose": {"kind": "sqlite", "location": "{state}/results.db"},
    }
    return stack, compose_value(stack, **faults)


def _owner() -> str:
    return f"{os.getuid()}:{os.getgid()}" if hasattr(os, "getuid") else "0:0"


def write_compose_stack(folder: Path, stack: dict[str, Any], compose: dict[str, Any]) -> Path:
    """Write both files; the stack file's path."""
    text = yaml.safe_dump(compose, sort_keys=False)
    (folder / "compose.yaml").write_text(text, "utf-8")
    return write_value(folder, stack)
