"""The stack file of a system to attack, with its corpus beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fakes.system import free_ports, stack_value, write_value

HERE = Path(__file__).parent
PROGRAM = HERE / "attacked_service.py"
CONTROLS = (
    *("token", "paths", "programs", "environment", "hosts", "logs", "errors", "sizes"),
    *("headers", "once", "sessions", "health", "framing", "neighbours"),
)


def corpus() -> Any:
    """The corpus, to be changed."""
    return yaml.safe_load((HERE / "attacked.yaml").read_text("utf-8"))


def attacked_value(off: str = "", fault: str = "") -> dict[str, Any]:
    """A stack of one service, `front`, with a control off or a fault."""
    (port,) = free_ports(1)
    value = stack_value()
    value["name"] = "attacked"
    value["services"] = [
        {"name": "front", "url": f"http://127.0.0.1:{port}", "url_env": "ATTACKED_URL"}
    ]
    value["runtimes"]["process"]["services"] = {
        "front": {
            "command": ["{python}", str(PROGRAM), str(port), "{state}"],
            "environment": {"OFF": off, "FAULT": fault},
        }
    }
    value["workload"]["service"] = "front"
    value["workload"]["verify"].pop("memory")
    value["golden"] = []
    value["security"] = {
        "corpora": ["corpus.yaml"],
        "identities": {"client": {"Authorization": "Bearer {secret:FAKE_KEY}"}},
        "places": {"OUTSIDE": {"process": "{state}/outside"}},
        "controls": [{"id": name, "says": name} for name in CONTROLS],
        "weakened": {"command": ["{python}", str(PROGRAM), str(port), "{state}", "{control}"]},
        "fuzz": {"public": ["/healthz"], "schemes": {"Key": {"identity": "client"}}},
    }
    return value


def write_attacked(
    folder: Path, off: str = "", fault: str = "", rows: Any = None, value: Any = None
) -> Path:
    """Write stack file and corpus; `rows` replaces the corpus."""
    whole = corpus() if rows is None else rows
    (folder / "corpus.yaml").write_text(yaml.safe_dump(whole, allow_unicode=True), "utf-8")
    return write_value(folder, value or attacked_value(off, fault))
