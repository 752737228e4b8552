"""Run mutmut on a copy of the checkout, and count what became of each mutant."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.findings import ROOT, RULES
from common.cli import ConfigurationError, ScriptError
from common.documents import read_yaml
from common.schema import check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# mutmut's words, and ours; a mutant that hangs was noticed.
_WORDS = {"killed": "killed", "timeout": "timeout", "survived": "survived", "no tests": "untested"}
COUNTS = ("killed", "survived", "timeout", "untested", "unclear")


@dataclass(frozen=True)
class Plan:
    """What is changed, and which tests have to notice.

    Args:
        modules: paths below scripts/.
        tests: paths below the checkout.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]


def load_plan(path: Path | None = None, only: Sequence[str] = ()) -> Plan:
    """The plan of scripts/rules/mutation.yaml, or the part of it for `only` these modules.

    Raises:
        ConfigurationError: the file breaks its schema, or a module is not in it.
    """
    document = read_yaml(path or RULES / "mutation.yaml")
    check(document, "mutation")
    modules = tuple(document.value["modules"])
    unknown = [name for name in only if name not in modules]
    if unknown:
        raise ConfigurationError(
            f"expected a module of {', '.join(modules)}, got {unknown[0]}: "
            f"add it to {document.path}"
        )
    return Plan(tuple(only) or modules, tuple(document.value["tests"]))


def prepare(plan: Plan, work: Path, root: Path = ROOT) -> None:
    """Copy the checkout so that mutmut can follow it.

    mutmut derives a module's name from its path and strips `src` only: scripts/ is
    copied as src/. The modules are then imported as in the real tree.
    """
    ignore = shutil.ignore_patterns("__pycache__", "secrets", "wheels", "*.pyc")
    for source, target in (("scripts", "src"), *((name, name) for name in ("schemas", "tests"))):
        shutil.copytree(root / source, work / target, ignore=ignore)
    shutil.copytree(root / "compose/reference", work / "compose/reference", ignore=ignore)
    for name in (*(f"src/{module}" for module in plan.modules), *plan.tests):
        if not (work / name).exists():
            raise ConfigurationError(f"scripts/rules/mutation.yaml: no {name}: correct the path")
    (work / "pyproject.toml").write_text(_settings(plan), "utf-8")


def _settings(plan: Plan) -> str:
    mutmut = {
        "source_paths": ["src"],
        "only_mutate": [f"src/{module}" for module in plan.modules],
        "also_copy": ["schemas", "compose", "tests"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-m", "not docker and not tools"],
        "pytest_add_cli_args_test_selection": list(plan.tests),
        "use_git_change_detection": False,
        # A mutant that waits for ever is waited for: thrice the time of its tests is enough.
        "timeout_multiplier": 3.0,
        "timeout_constant": 5.0,
    }
    pytest = {
        "pythonpath": ["src", "compose/reference", "tests"],
        "addopts": ["--import-mode=importlib"],
    }
    lines = ["[tool.mutmut]", *(f"{key} = {json.dumps(value)}" for key, value in mutmut.items())]
    lines += ["[tool.pytest.ini_options]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in pytest.items()]
    return "\n".join(lines) + "\n"


def run_mutmut(work: Path, workers: int) -> str:
    """Make and try every mutant; returns mutmut's list of results.

    Raises:
        ScriptError: the tests fail without any mutant, or mutmut is not installed.
    """
    _mutmut(work, "run", "--max-children", str(workers))
    return _mutmut(work, "results", "--all", "true")


def _mutmut(work: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": "0", "NO_COLOR": "1"}
    # Every mutant runs the tests again: few made-up examples each.
    environment["HYPOTHESIS_PROFILE"] = "quick"
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        said = " | ".join(line.strip()[-200:] for line in lines[-3:])
        raise ScriptError(f"mutmut {arguments[0]} failed: {said}: do the tests pass without it?")
    return done.stdout


def version() -> str:
    """The version of mutmut that is installed here.

    Raises:
        ConfigurationError: none is.
    """
    import importlib.metadata

    try:
        return importlib.metadata.version("mutmut")
    except importlib.metadata.PackageNotFoundError as problem:
        raise ConfigurationError("mutmut is not installed here: run `nox -s mutation`") from problem


def results(text: str) -> dict[str, str]:
    """What became of each mutant, by its name, from mutmut's list."""
    found = {}
    for line in text.splitlines():
        name, _, word = line.strip().rpartition(": ")
        if "__mutmut_" in name:
            found[name] = _WORDS.get(word, "unclear")
    return found


def counts(outcomes: Mapping[str, str]) -> dict[str, Any]:
    """How many of each kind; the score is null where there was no mutant at all."""
    kinds = Counter(outcomes.values())
    total = len(outcomes)
    score = round((kinds["killed"] + kinds["timeout"]) / total, 4) if total else None
    return {"mutants": total, **{name: kinds[name] for name in COUNTS}, "score": score}


def by_module(outcomes: Mapping[str, str], plan: Plan) -> dict[str, dict[str, Any]]:
    """The counts of each module of the plan, a module without a mutant included."""
    names = {module: module.removesuffix(".py").replace("/", ".") for module in plan.modules}
    return {
        name: counts({key: word for key, word in outcomes.items() if key.startswith(f"{name}.")})
        for name in names.values()
    }
