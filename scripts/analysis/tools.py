"""Run bandit and semgrep on the code, and read what they found and what they looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.findings import ROOT, RULES, Finding, Report, check_controls
from common.cli import ConfigurationError, ScriptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TIMEOUT_SECONDS = 900
# Where code of ours stands; tests are semgrep's only: ruff's S rules look at them too.
PRODUCT = ("noxfile.py", "scripts", "compose/reference")
TESTS = ("tests",)
_SKIPPED = {"__pycache__", "wheels", "controls"}


def source_files(root: Path = ROOT, places: Iterable[str] = (*PRODUCT, *TESTS)) -> list[Path]:
    """Every Python file that has to be looked at, sorted; control files are none."""
    found: list[Path] = []
    for place in places:
        path = root / place
        found += [path] if path.is_file() else path.rglob("*.py")
    return sorted(path for path in found if not _SKIPPED & {*path.relative_to(root).parts})


def run_tool(name: str, arguments: Sequence[str], folder: Path = ROOT) -> str:
    """Standard output of a tool that lies beside this interpreter, or on the PATH.

    Raises:
        ConfigurationError: it is not installed.
        ScriptError: it did not end in time, or broke.
    """
    end = ".exe" if os.name == "nt" else ""
    beside = Path(sys.executable).with_name(name + end)
    command = [str(beside) if beside.exists() else name, *arguments]
    with tempfile.TemporaryDirectory() as home:
        # No account, no metrics, no settings of this machine: semgrep wants to write HOME.
        # `semgrep --version` asks a server whether there is a newer one, for minutes.
        semgrep = {"SEMGREP_SEND_METRICS": "off", "SEMGREP_ENABLE_VERSION_CHECK": "0"}
        environment = {**os.environ, "HOME": home, **semgrep}
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                encoding="utf-8",
                check=False,
                timeout=TIMEOUT_SECONDS,
            )
        except FileNotFoundError as problem:
            raise ConfigurationError(
                f"no {name} beside {sys.executable} or on the PATH: run `nox -s security`"
            ) from problem
        except subprocess.TimeoutExpired as problem:
            raise ScriptError(f"{name}: expected an end within {TIMEOUT_SECONDS} s") from problem
    if done.returncode not in {0, 1}:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ScriptError(f"{name} broke: {lines[-1][:300]}")
    return done.stdout or done.stderr


def version_of(name: str) -> str:
    """What a tool says its version is, in one line."""
    return run_tool(name, ["--version"]).strip().splitlines()[0].split()[-1]


def run_bandit(files: Sequence[Path], controls: Sequence[Path], root: Path = ROOT) -> Report:
    """Bandit with every rule; comments can't waive anything, scripts/rules/waivers.yaml can."""
    names = _names([*files, *controls], root)
    text = run_tool("bandit", ["-q", "-f", "json", "--ignore-nosec", *names], root)
    document = parse("bandit", text)
    findings = [
        Finding(
            _slashed(item["filename"]),
            item["line_number"],
            item["test_id"],
            item["issue_severity"].lower(),
            item["issue_text"],
        )
        for item in document["results"]
    ]
    broken = {_slashed(item["filename"]) for item in document["errors"]}
    seen = {_slashed(name) for name in document["metrics"] if name != "_totals"} - broken
    report = _report("bandit", names, seen, findings)
    return check_controls(report, controls, root)


def run_semgrep(files: Sequence[Path], controls: Sequence[Path], root: Path = ROOT) -> Report:
    """Run semgrep with the rules of scripts/rules/semgrep.yaml only; asks no server."""
    names = _names([*files, *controls], root)
    options = ["scan", "--json", "--quiet", "--metrics=off", "--disable-version-check"]
    options += ["--no-git-ignore", "--x-ignore-semgrepignore-files", "--disable-nosem"]
    options += ["--jobs=1", "--config", str(RULES / "semgrep.yaml")]
    document = parse("semgrep", run_tool("semgrep", [*options, *names], root))
    findings = [
        Finding(
            _slashed(item["path"]),
            item["start"]["line"],
            item["check_id"].rpartition(".")[2],
            item["extra"]["severity"].lower(),
            item["extra"]["message"].strip(),
        )
        for item in document["results"]
    ]
    findings += [_unparsed(item) for item in document["errors"]]
    seen = {_slashed(name) for name in document["paths"]["scanned"]}
    report = _report("semgrep", names, seen, findings)
    return check_controls(report, controls, root)


def _unparsed(problem: dict[str, Any]) -> Finding:
    # A part of a file, or a rule: what could not be read was not looked at.
    path = _slashed(problem.get("path", "scripts/rules/semgrep.yaml"))
    message = " ".join(problem["message"].split())[:300]
    return Finding(path, 1, "unparsed", "error", message)


def parse(name: str, text: str) -> Any:  # noqa: ANN401 - the JSON edge
    """The JSON that a tool printed.

    Raises:
        ScriptError: it printed something else.
    """
    try:
        return json.loads(text)
    except ValueError as problem:
        raise ScriptError(f"{name}: expected JSON, got {text[:200]!r}") from problem


def _report(
    tool: str, wanted: Sequence[str], seen: set[str], findings: Sequence[Finding]
) -> Report:
    return Report(
        tool=tool,
        version=version_of(tool),
        looked_at=tuple(sorted(seen)),
        unseen=tuple(sorted(set(wanted) - seen)),
        findings=tuple(findings),
    )


def _names(paths: Iterable[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def _slashed(name: str) -> str:
    name = name.replace("\\", "/")
    return name.removeprefix("./")
