"""Write a stack file of fake services into a folder, on free ports."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from pathlib import Path
from typing import Any

import yaml

FIRST_PORT, PORTS_EACH = 20_000, 1_500
# Not from the start each time: two runs of pytest may go on side by side.
_NUMBERS = itertools.count(os.getpid() * 7)
PROGRAM = Path(__file__).with_name("service.py")


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, and that no test running beside this one is given.

    Each worker of pytest-xdist has a range of its own, below the ports that clients get.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    found: list[int] = []
    while len(found) < count:
        port = FIRST_PORT + worker * PORTS_EACH + next(_NUMBERS) % PORTS_EACH
        with socket.socket() as attempt, contextlib.suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            found.append(port)
    return found


def stack_value(**faults: str) -> dict[str, Any]:
    """The value of a working stack file: `front` needs `jobs`; a fault for each by name."""
    names = ["jobs", "front"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    commands = {
        name: {
            "command": ["{python}", str(PROGRAM), name, str(ports[name]), "{state}"],
            "environment": {"FAULT": faults.get(name, "")},
        }
        for name in names
    }
    return {
        "version": 1,
        "name": "fake",
        "services": [
            {
                "name": "front",
                "url": f"http://127.0.0.1:{ports['front']}",
                "url_env": "FAKE_FRONT_URL",
                "depends_on": ["jobs"],
            },
            {
                "name": "jobs",
                "url": f"http://127.0.0.1:{ports['jobs']}",
                "url_env": "FAKE_JOBS_URL",
                "start_seconds": 5,
                "stop_seconds": 1,
            },
        ],
        "runtimes": {
            "process": {
                "environment": {"KEY": "{secret:FAKE_KEY}", "PYTHONHASHSEED": "0"},
                "services": commands,
            }
        },
        "secrets": ["FAKE_KEY"],
        "stores": {"results": {"process": {"kind": "sqlite", "location": "{state}/results.db"}}},
        "workload": {
            "service": "jobs",
            "headers": {"Authorization": "Bearer {secret:FAKE_KEY}"},
            "submit": {
                "path": "/jobs",
                "body": {"number": "{index}", "how": "{strategy}", "target": "{target_url}"},
                "job_id": "/id",
                "idempotency_header": "Idempotency-Key",
            },
            "poll": {
                "path": "/jobs/{job_id}",
                "status": "/status",
                "digest": "/result/sha256",
                "error": "/error",
                "completed": ["completed"],
                "failed": ["failed"],
            },
            "strategies": ["vanilla", "stealth", "assault"],
            "priorities": ["low", "high"],
            "targets": {"local": [{"name": "one", "url": "http://127.0.0.1:1/"}]},
            "verify": {
                "store": {
                    "store": "results",
                    "query": "SELECT content FROM results WHERE job_id = :job_id",
                    "compare": "sha256",
                },
                "memory": {"service": "front", "path": "/memory/{job_id}", "digest": "/sha256"},
            },
        },
        "golden": [
            {
                "name": "healthy",
                "service": "front",
                "path": "/healthz",
                "expect": {"status": 200, "json": {"/service": "front"}},
            }
        ],
    }


def write_stack(folder: Path, **faults: str) -> Path:
    """Write the stack file of a fake system, with faults by service name."""
    return write_value(folder, stack_value(**faults))


def write_value(folder: Path, value: dict[str, Any]) -> Path:
    """Write any value as a stack file."""
    path = folder / "stack.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False), "utf-8")
    return path


def edit_service(value: dict[str, Any], name: str, command: list[str]) -> dict[str, Any]:
    """Give a service another command."""
    value["runtimes"]["process"]["services"][name]["command"] = command
    return value
