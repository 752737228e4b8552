"""Write the stack file of a system to soak into a folder, on a free port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fakes.system import free_ports, stack_value, write_value

PROGRAM = Path(__file__).with_name("soak_service.py")


def soak_value(fault: str = "", after: float = 2.0, **rates: float) -> dict[str, Any]:
    """A stack of one service, `front`; traffic at rates a second by profile name."""
    (port,) = free_ports(1)
    value = stack_value()
    value["name"] = "soaked"
    value["services"] = [
        {
            "name": "front",
            "url": f"http://127.0.0.1:{port}",
            "url_env": "SOAKED_URL",
            "stop_seconds": 1,
        }
    ]
    value["runtimes"]["process"]["services"] = {
        "front": {
            "command": ["{python}", str(PROGRAM), str(port)],
            "environment": {"FAULT": fault, "FAULT_AFTER": str(after)},
        }
    }
    value["workload"]["service"] = "front"
    value["workload"]["verify"].pop("memory")
    value["golden"] = []
    value["traffic"] = traffic({"chat": 5.0, "action": 20.0, "session": 1.0, **rates})
    return value


def traffic(rates: dict[str, float], timeout_seconds: float = 4.0) -> list[dict[str, Any]]:
    """Three profiles; one with a rate of 0 is left out."""
    common = {"service": "front", "timeout_seconds": timeout_seconds}
    profiles: list[dict[str, Any]] = [
        {
            "name": "chat",
            "stream": True,
            "first_token": "event: token",
            "method": "POST",
            "path": "/chat",
            "body": {"message": "hello"},
            "expect": {"status": 200, "contains": ["event: done"]},
        },
        {
            "name": "action",
            "method": "POST",
            "path": "/action",
            "body": {"number": "{sequence}"},
            "expect": {"status": 200, "json": {"/outcome": "completed"}},
        },
        {
            "name": "session",
            "steps": [
                {
                    "name": "create",
                    "method": "POST",
                    "path": "/sessions",
                    "capture": {"ID": "/id"},
                    "expect": {"status": 201},
                },
                {
                    "name": "destroy",
                    "method": "DELETE",
                    "path": "/sessions/{capture:ID}",
                    "expect": {"status": 200},
                },
                {
                    "name": "gone",
                    "method": "GET",
                    "path": "/sessions/{capture:ID}",
                    "expect": {"status": 404},
                    "proves_end": True,
                },
            ],
        },
    ]
    return [
        {**item, **common, "per_second": rates[item["name"]]}
        for item in profiles
        if rates[item["name"]]
    ]


def write_soak_stack(folder: Path, fault: str = "", after: float = 2.0, **rates: float) -> Path:
    """Write the stack file of a system with that fault."""
    return write_value(folder, soak_value(fault, after, **rates))
