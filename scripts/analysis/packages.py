"""The packages of the locks: known vulnerabilities (pip-audit) and licences (pip-licenses)."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.findings import RULES, Finding, Report
from analysis.tools import parse, run_tool, version_of
from common.cli import ConfigurationError, ScriptError
from common.documents import read_yaml
from common.schema import check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOCKS = ("constraints.txt", "constraints-security.txt")
_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]+))?", re.MULTILINE)
_LIST_NAMES = (
    "import importlib.metadata as metadata, json; "
    "print(json.dumps(sorted({one.name for one in metadata.distributions()})))"
)


def locked(lock: Path) -> dict[str, str]:
    """Name and version of what a lock installs on this machine.

    Raises:
        ConfigurationError: the lock is missing or locks nothing.
    """
    from packaging.markers import Marker
    from packaging.utils import canonicalize_name

    try:
        text = lock.read_text("utf-8")
    except OSError as problem:
        raise ConfigurationError(f"can't read {lock}: {problem.strerror}") from problem
    found: dict[str, str] = {
        canonicalize_name(name): version
        for name, version, marker in _ENTRY.findall(text)
        if not marker or Marker(marker.strip()).evaluate()
    }
    if not found:
        raise ConfigurationError(f"{lock}: expected locked packages, got none: `nox -s lock`")
    return found


def audit_dependencies(
    locks: Sequence[Path], *, offline: bool = False, ask: Callable[[Path], Any] | None = None
) -> Report:
    """Known vulnerabilities of everything locked.

    One package is asked about first: where the service does not know that one, the
    others are not asked, and nothing is measured. "No known vulnerabilities" of a
    service that was never reached is no pass.

    Args:
        locks: the lock files.
        offline: ask nobody.
        ask: asks about a requirements file; pip-audit by default.
    """
    versions: dict[str, str] = {}
    where: dict[str, str] = {}
    for lock in locks:
        for name, version in locked(lock).items():
            versions[f"{name}=={version}"] = name
            where.setdefault(f"{name}=={version}", lock.name)
    if offline:
        return _not_asked(versions, "offline: nobody was asked")
    ask = ask or ask_pip_audit
    try:
        answers = _answers(ask, [min(versions)])
        if not answers[min(versions)].get("skip_reason"):
            answers |= _answers(ask, sorted(versions))
    except (ScriptError, KeyError) as problem:
        return _not_asked(versions, f"the vulnerability service gave no answer: {problem}")
    return _audited(versions, where, answers)


def _audited(
    versions: Mapping[str, str], where: Mapping[str, str], answers: Mapping[str, Any]
) -> Report:
    seen = {text for text in versions if text in answers and "vulns" in answers[text]}
    findings = [
        Finding(
            where[text],
            1,
            str(flaw["id"]),
            "error",
            f"{text}: {flaw['id']}, fixed in {', '.join(flaw.get('fix_versions') or ['none yet'])}",
        )
        for text in sorted(seen)
        for flaw in answers[text]["vulns"]
    ]
    skipped = [str(item["skip_reason"]) for item in answers.values() if item.get("skip_reason")]
    return Report(
        "pip-audit",
        version_of("pip-audit"),
        tuple(sorted(seen)),
        tuple(sorted(set(versions) - seen)),
        tuple(findings),
        note=skipped[0] if skipped else None,
        optional=True,
    )


def _not_asked(versions: Mapping[str, str], note: str) -> Report:
    version = version_of("pip-audit")
    return Report("pip-audit", version, (), tuple(sorted(versions)), note=note, optional=True)


def _answers(ask: Callable[[Path], Any], requirements: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # The same package may be locked in two versions: one file for each round of names.
        rounds: list[dict[str, str]] = []
        for text in requirements:
            name = text.partition("==")[0]
            free = next((one for one in rounds if name not in one), None)
            if free is None:
                free = {}
                rounds.append(free)
            free[name] = text
        found = {}
        for number, one in enumerate(rounds):
            path = Path(folder, f"requirements-{number}.txt")
            path.write_text("".join(f"{text}\n" for text in one.values()), "utf-8")
            for item in ask(path)["dependencies"]:
                found[one[_canonical(item["name"])]] = item
    return found


def ask_pip_audit(requirements: Path) -> Any:  # noqa: ANN401 - the JSON edge
    """pip-audit's answer about exact versions.

    Raises:
        ScriptError: no JSON came: the service could not be reached.
    """
    options = ["--disable-pip", "--no-deps", "--progress-spinner=off", "--timeout=15"]
    text = run_tool("pip-audit", [*options, "-f", "json", "-r", str(requirements)])
    if not text.lstrip().startswith("{"):
        raise ScriptError((text.strip().splitlines() or ["no output"])[-1][:200])
    return parse("pip-audit", text)


def list_licences(
    pythons: Sequence[Path], locks: Sequence[Path], rules: Path | None = None
) -> Report:
    """Licences of everything locked, held against scripts/rules/licences.yaml.

    Args:
        pythons: interpreters of the environments in which the locks are installed.
        locks: the lock files; what they name has to be in one of the environments.
        rules: another list of allowed licences.
    """
    document = read_yaml(rules or RULES / "licences.yaml")
    check(document, "licences")
    allowed = {item["licence"] for item in document.value["allowed"]}
    named = {item["package"]: item for item in document.value["packages"]}
    findings, seen = [], set()
    for python in pythons:
        for item in licences_of(python):
            # Some put the whole text into the field: its first line names it.
            name, licence = _canonical(item["Name"]), item["License"].partition("\n")[0]
            seen.add(name)
            if licence not in allowed and not _named(named.get(name), item):
                text = f"{name} {item['Version']}: expected an allowed licence, got {licence!r}"
                findings.append(Finding("scripts/rules/licences.yaml", 1, "licence", "error", text))
    wanted = {name for lock in locks for name in locked(lock)}
    unseen = tuple(sorted(wanted - seen))
    version = version_of("pip-licenses")
    return Report("pip-licenses", version, tuple(sorted(seen)), unseen, tuple(sorted({*findings})))


def _named(entry: Mapping[str, str] | None, item: Mapping[str, str]) -> bool:
    # An unknown licence was looked up by hand, in one version.
    return (
        entry is not None
        and entry["licence"] == item["License"]
        and entry.get("version", item["Version"]) == item["Version"]
    )


def licences_of(python: Path) -> list[dict[str, str]]:
    """Name, version and licence of each package of an environment, as pip-licenses says.

    Raises:
        ScriptError: there is no such interpreter, or pip-licenses left packages out.
    """
    options = ["--format=json", "--with-system", "--from=mixed", f"--python={python}"]
    found: list[dict[str, str]] = parse("pip-licenses", run_tool("pip-licenses", options))
    try:
        done = subprocess.run(
            [str(python), "-c", _LIST_NAMES], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as problem:
        raise ScriptError(f"{python}: expected a Python interpreter, got: {problem}") from problem
    missing = {_canonical(name) for name in json.loads(done.stdout)}
    missing -= {_canonical(item["Name"]) for item in found}
    if missing:
        raise ScriptError(f"pip-licenses: expected {min(missing)} of {python}, got no such line")
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
