"""The project's own rules, held against the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from gating.gate_file import gate_names, load_gate
from stack.environment import locked_versions
from stack.load import load_stack

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
# What a script needs beside the group `scripts`.
MORE_GROUPS = {"run_locust_worker": "locust"}
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
NAME = re.compile(r"[A-Za-z0-9._-]+")


def names(requirements: list[str]) -> set[str]:
    """Package names of requirement texts."""
    return {found[0].lower() for found in map(NAME.match, requirements) if found}


def header(script: Path) -> list[str]:
    """The dependencies in a script's PEP 723 header."""
    block = re.search(r"^# /// script\n(.*?)^# ///$", script.read_text(), re.MULTILINE | re.DOTALL)
    assert block, f"{script.name} has no PEP 723 header"
    value = tomllib.loads("".join(line[2:] + "\n" for line in block[1].splitlines()))
    assert value["requires-python"] == ">=3.11"
    return list(value["dependencies"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_header_names_packages_of_the_scripts_group(script: Path) -> None:
    more = MORE_GROUPS.get(script.stem)
    known = names(GROUPS["scripts"]) | (names(GROUPS[more]) if more else set())
    assert names(header(script)) <= known


def test_every_dependency_is_locked_with_a_hash() -> None:
    for group, requirements in GROUPS.items():
        lock = "constraints-security.txt" if group == "security" else "constraints.txt"
        locked = locked_versions(ROOT / lock)
        assert names(requirements) <= locked.keys(), group


def test_the_services_lock_is_a_part_of_the_one_resolution() -> None:
    whole = locked_versions(ROOT / "constraints.txt")
    services = locked_versions(ROOT / "compose/reference/requirements.txt")
    assert services.items() <= whole.items()
    assert names(GROUPS["services"]) <= services.keys()


@pytest.mark.parametrize(
    "lock",
    [
        "constraints.txt",
        "constraints-security.txt",
        "compose/reference/requirements.txt",
        "compose/reference/requirements-ci.txt",
    ],
)
def test_no_lock_names_an_index_or_a_folder_of_the_machine_that_made_it(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"-[cr] (/|[A-Z]:)", text)
    assert "://" not in text
    assert "--index-url" not in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_works_from_any_folder_with_examples_and_no_package(
    script: Path, tmp_path: Path
) -> None:
    """`-S` hides site-packages: help must need the standard library only."""
    done = subprocess.run(
        [sys.executable, "-S", str(script), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "examples:" in done.stdout


@pytest.mark.parametrize("name", ["check_prerequisites", "run_proof_pack", "spinup_smoke"])
def test_a_missing_package_is_one_line_that_says_what_to_do(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "scripts" / f"{name}.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 78, done.stderr
    assert done.stderr.count("\n") == 1
    # In a checkout that is bootstrapped, the way there is its own interpreter.
    wanted = ".venv" if (ROOT / ".venv").exists() else "make bootstrap"
    assert wanted in done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_has_its_test_file(script: Path) -> None:
    assert (ROOT / "tests" / f"test_{script.stem}.py").is_file()


def test_no_script_names_a_service_of_the_reference_system() -> None:
    """Design: a service's name stands only in a stack file."""
    stack = yaml.safe_load((ROOT / "compose/reference/stack.yaml").read_text())
    found = [
        f"{path.name}: {service['name']}"
        for path in (ROOT / "scripts").rglob("*.py")
        for service in stack["services"]
        if re.search(rf"['\"/]{service['name']}['\"/]", path.read_text())
        and service["name"] != "targets"  # also the stack file's own word for what jobs work on
    ]
    assert found == []


# H6, as the requirement lists them.
TARGETS = (
    *("bootstrap", "dev", "dev-logs", "build", "smoke", "proof-pack", "ci", "quick-test", "test"),
    *("test-unit", "lint", "typecheck", "security", "verify", "schema", "status", "clean-all"),
)
# These two work without .venv: one makes it, the other removes it.
BY_SCRIPT = {"bootstrap": "bootstrap_environment.py", "clean-all": "clean_checkout.py"}
# Where `make bootstrap` puts it.
NOX = [ROOT / ".venv" / name for name in ("bin/python", "Scripts/python.exe")]
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


def nox_sessions() -> dict[str, str]:
    """Session names of the noxfile with the first word of each docstring."""
    source = (ROOT / "noxfile.py").read_text()
    pattern = r'@nox\.session(?:\((.*?)\))?\ndef (\w+)\(.*?\n    """(.*?)\n'
    found = {}
    for options, function, text in re.findall(pattern, source):
        named = re.search(r'name="([^"]+)"', options)
        found[named[1] if named else function] = text
    assert source.count("@nox.session") == len(found)
    return found


def make(*arguments: str) -> str:
    """What make would run, without running it."""
    command = ["make", "--dry-run", "--always-make", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@needs_make
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_of_h6_runs_its_session_or_script(target: str) -> None:
    """H6: each target is a thin alias."""
    ran = make(target)
    if target in BY_SCRIPT:
        assert f"scripts/{BY_SCRIPT[target]}" in ran
    else:
        assert target in nox_sessions()
        assert f" -s {target} -- \n" in f"{ran}"


def test_every_make_target_is_a_nox_session() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^SESSIONS := (.*?)\n\.PHONY", makefile, re.MULTILINE | re.DOTALL)
    assert targets
    named = set(targets[1].replace("\\", " ").split())
    assert named == nox_sessions().keys() | {"$(GATES)"}


@needs_make
@pytest.mark.parametrize("gate", gate_names())
def test_every_gate_file_is_a_session_and_a_target(gate: str) -> None:
    """A new gate is one YAML file: noxfile and Makefile list what is in the folder."""
    assert f" -s {gate} -- --rehearse\n" in make(gate, "ARGS=--rehearse")
    python = next((path for path in NOX if path.exists()), Path(sys.executable))
    command = [str(python), "-m", "nox", "--list"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "No module named nox" in listed.stderr:
        pytest.skip("needs nox: run `make bootstrap`")
    assert f"- {gate} [gate] -> Run {gate}: {load_gate(gate).title.lower()}.\n" in listed.stdout


def test_every_make_target_is_phony() -> None:
    """A folder of that name, such as tests/, would make it "up to date"."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    rules = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    assert {*rules} <= {*phony[1].split()}


@needs_make
@pytest.mark.parametrize("target", ["smoke", "proof-pack"])
def test_make_takes_a_runtime_and_arguments(target: str) -> None:
    ran = make(target, "RUNTIME=compose", "ARGS=--key x")
    assert f"-s {target} -- --runtime compose --key x\n" in ran
    assert "--runtime" not in make(target)


def test_every_session_says_what_it_does() -> None:
    assert [name for name, text in nox_sessions().items() if len(text.split()) < 4] == []


def test_actions_are_pinned_by_commit() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for line in path.read_text().splitlines():
            # An action of this checkout is pinned with it.
            if "uses:" in line and "uses: ./" not in line:
                assert re.search(r"@[0-9a-f]{40} # v", line), f"{path.name}: {line.strip()}"


def test_adrs_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs/adr").glob("*.md"))
    assert numbers == [*range(1, len(numbers) + 1)]


def test_the_stack_file_of_the_documentation_loads(tmp_path: Path) -> None:
    text = (ROOT / "docs/stack-file.md").read_text()
    example = re.search(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert example
    (tmp_path / "stack.yaml").write_text(example[1])
    assert load_stack(tmp_path / "stack.yaml", {}).name == "my-system"


def test_the_stack_file_documentation_names_every_key() -> None:
    text = (ROOT / "docs/stack-file.md").read_text()
    schema = yaml.safe_load((ROOT / "schemas/stack.schema.json").read_text())
    keys = set(schema["properties"]) | set(schema["$defs"]["service"]["properties"])
    keys |= set(schema["$defs"]["process"]["properties"])
    assert [key for key in sorted(keys) if key not in text] == []
