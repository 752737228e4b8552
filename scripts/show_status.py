# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "filelock",
#     "platformdirs",
#     "psutil",
# ]
# ///
"""Show what runs now, what a killed run left, what waits, and the last verdicts; changes nothing.

Exit codes: 0, or 1 where a killed run left something (the next run removes it). Verdicts
are shown as they are written: `make verify` says whether they are authentic.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from common.cli import Exit, make_parser, run
from common.options import add_output_dir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

PROJECT_LABEL = "com.docker.compose.project"
# Of a run: <stack name>-<12 hex>; anything else is somebody's own.
RUN_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*-[0-9a-f]{12}")
DOCKER_SECONDS = 20
SHOWN_RUNS = 5
EXAMPLES = ("make status", "python scripts/show_status.py --json")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add_output_dir(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    return parser.parse_args(argv)


def stacks() -> list[dict[str, Any]]:
    """Each recorded stack: who started it, and whether that command is still there."""
    from common.folders import cache_folder
    from stack.records import same_process

    found = []
    for path in sorted((cache_folder() / "runs").glob("*.json")):
        try:
            record = json.loads(path.read_text("utf-8"))
            harness = same_process(record["harness_pid"], record["harness_birth"])
            services = {
                name: same_process(pid, born) is not None
                for name, (pid, born) in record["processes"].items()
            }
        except (OSError, ValueError, KeyError, TypeError):
            continue  # being written or removed at this moment
        found.append(
            {
                "stack": record["stack_file"],
                "harness_pid": record["harness_pid"],
                "left_over": harness is None,
                "secrets": record.get("secrets", ""),
                "services": sorted(name for name, alive in services.items() if alive),
            }
        )
    return found


def containers() -> list[dict[str, str]] | None:
    """Containers of runs, by compose project; None where no engine answers."""
    if shutil.which("docker") is None:
        return None
    line = f'{{{{.Label "{PROJECT_LABEL}"}}}}\t{{{{.Names}}}}\t{{{{.Status}}}}'
    command = ["docker", "ps", "--all", "--filter", f"label={PROJECT_LABEL}", "--format", line]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=DOCKER_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [row.split("\t") for row in done.stdout.splitlines()]
    return [
        {"project": project, "name": name, "status": status}
        for project, name, status in (row for row in rows if len(row) == len(rows[0]))
        if RUN_PROJECT.fullmatch(project)
    ]


def soaks(folder: Path) -> list[dict[str, str]]:
    """Interrupted soaks of an output folder, with the command that goes on with each."""
    from soak.going_on import waiting

    names = ("run", "command", "prospect")
    return [dict(zip(names, values, strict=True)) for values in waiting(folder)]


def verdicts(folder: Path) -> list[dict[str, str]]:
    """The newest runs of an output folder, newest first, as their summaries say."""
    found = []
    for run_folder in sorted(folder.glob("[0-9]*-[0-9]*"), reverse=True)[:SHOWN_RUNS]:
        for path in sorted((run_folder / "evidence").glob("*.json")):
            try:
                summary = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(summary, dict) and "verdict" in summary and "eligible" in summary:
                verdict, script = str(summary["verdict"]), str(summary.get("script"))
                found.append({"run": run_folder.name, "script": script, "verdict": verdict})
    return found


def show(state: dict[str, Any]) -> None:
    """What a person reads."""
    for stack in state["stacks"]:
        word = "LEFT OVER" if stack["left_over"] else "running"
        names = ", ".join(stack["services"]) or "no process"
        secrets = f"; secrets in {stack['secrets']}" if os.path.lexists(stack["secrets"]) else ""
        print(f"{word}: {stack['stack']} (pid {stack['harness_pid']}): {names}{secrets}")
    if not state["stacks"]:
        print("no stack runs in processes")
    if state["containers"] is None:
        print("containers: unknown, no Docker engine answers")
    for one in state["containers"] or ():
        print(f"container {one['name']} of {one['project']}: {one['status']}")
    if state["containers"] == []:
        print("no container of a run")
    for soak in state["soaks"]:
        print(f"interrupted soak {soak['run']} waits: go on with `{soak['command']}`;")
        print(f"  {soak['prospect']}")
    for run_ in state["verdicts"]:
        print(f"{run_['run']} {run_['script']}: {run_['verdict']} (as written, not verified)")
    if not state["verdicts"]:
        print("no run yet: `make smoke`")


def main(argv: Sequence[str] | None = None) -> Exit:
    """Show it; exit 1 where something was left."""
    options = parse(argv)
    state: dict[str, Any] = {
        "stacks": stacks(),
        "containers": containers(),
        "soaks": soaks(options.output_dir),
        "verdicts": verdicts(options.output_dir),
    }
    if options.json:
        print(json.dumps(state, indent=2))
    else:
        show(state)
    # A container alone says nothing: its run may belong to another checkout or user.
    return Exit.FAILED if any(stack["left_over"] for stack in state["stacks"]) else Exit.PASSED


if __name__ == "__main__":
    run(main)
