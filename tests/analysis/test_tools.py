"""The tools themselves: each finds what is planted, and says what it looked at (H7).

Needs bandit, semgrep, pip-audit and pip-licenses: `make test-tools`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from analysis import tools
from analysis.findings import RULES
from analysis.packages import licences_of
from analysis.tools import run_bandit, run_semgrep, run_tool, source_files
from common.cli import ConfigurationError, ScriptError

needs_tools = pytest.mark.tools
BREAK = "import sys; sys.stderr.write('no such rule'); sys.exit(2)"
CONTROLS = sorted(path.name for path in (RULES / "controls/semgrep").glob("*.py"))


def tree(tmp_path: Path, tool: str) -> tuple[Path, list[Path]]:
    """A checkout of one clean file with the control files of a tool."""
    (tmp_path / "scripts").mkdir()
    clean = tmp_path / "scripts/clean.py"
    clean.write_text("print(1)\n")
    controls = tmp_path / "scripts/rules/controls" / tool
    shutil.copytree(RULES / "controls" / tool, controls)
    return clean, sorted(controls.glob("*.py"))


@needs_tools
def test_bandit_finds_its_planted_faults_and_passes_clean_code(tmp_path: Path) -> None:
    clean, controls = tree(tmp_path, "bandit")
    found = run_bandit([clean], controls, tmp_path)
    assert (found.findings, found.unseen, found.looked_at) == ((), (), ("scripts/clean.py",))


@needs_tools
def test_bandit_turns_red_on_a_planted_fault_whatever_a_comment_says(tmp_path: Path) -> None:
    clean, controls = tree(tmp_path, "bandit")
    clean.write_text("import os\nos.system('ls')  # nosec\n")
    assert "B605" in {item.rule for item in run_bandit([clean], controls, tmp_path).findings}


@needs_tools
def test_bandit_has_not_looked_at_a_file_that_it_cannot_read(tmp_path: Path) -> None:
    clean, controls = tree(tmp_path, "bandit")
    clean.write_text("def broken(:\n")
    found = run_bandit([clean], controls, tmp_path)
    assert found.unseen == ("scripts/clean.py",)
    assert found.as_json()["findings_count"] is None


@needs_tools
def test_every_local_rule_finds_its_planted_faults_and_nothing_else(tmp_path: Path) -> None:
    clean, controls = tree(tmp_path, "semgrep")
    found = run_semgrep([clean], controls, tmp_path)
    assert (found.findings, found.unseen, found.looked_at) == ((), (), ("scripts/clean.py",))


@needs_tools
def test_semgrep_turns_red_on_a_planted_fault_whatever_a_comment_says(tmp_path: Path) -> None:
    clean, controls = tree(tmp_path, "semgrep")
    clean.write_text("import os\nos.system('ls')  # nosem\n")
    found = run_semgrep([clean], controls, tmp_path)
    assert [(item.rule, item.line) for item in found.findings] == [("no-shell", 2)]


@needs_tools
def test_what_semgrep_cannot_parse_is_a_finding(tmp_path: Path) -> None:
    clean, controls = tree(tmp_path, "semgrep")
    # A file without a word of any rule is not parsed at all: this one has one.
    clean.write_text("import os\nos.system(\ndef broken(:\n")
    rules = {item.rule for item in run_semgrep([clean], controls, tmp_path).findings}
    assert "unparsed" in rules


@needs_tools
def test_pip_licenses_names_every_package_of_an_environment() -> None:
    assert {"semgrep", "bandit"} <= {item["Name"] for item in licences_of(Path(sys.executable))}


def test_every_rule_has_a_control_file() -> None:
    import yaml

    rules = yaml.safe_load((RULES / "semgrep.yaml").read_text("utf-8"))["rules"]
    assert 8 <= len(rules) <= 20
    assert sorted(f"{rule['id']}.py" for rule in rules) == CONTROLS


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_file_has_forbidden_and_allowed_lines(name: str) -> None:
    text = (RULES / "controls/semgrep" / name).read_text("utf-8")
    calls = [line for line in text.splitlines() if line and not line.startswith(("import", "from"))]
    marked = [line for line in calls if f"# forbidden: {name[:-3]}" in line]
    assert marked
    assert len(calls) > len(marked)


def test_source_files_are_all_but_controls_and_caches(tmp_path: Path) -> None:
    for name in ("a.py", "rules/controls/bad.py", "__pycache__/a.py", "b/c.py", "d.txt"):
        path = tmp_path / "scripts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    found = source_files(tmp_path, ["scripts"])
    assert [path.name for path in found] == ["a.py", "c.py"]


def test_a_tool_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match=r"no nonesuch beside .* `nox -s security`"):
        run_tool("nonesuch", [])


def test_a_tool_that_breaks_or_hangs_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    name = Path(sys.executable).name.removesuffix(".exe")
    with pytest.raises(ScriptError, match="broke: no such rule"):
        run_tool(name, ["-c", BREAK])
    monkeypatch.setattr(tools, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(ScriptError, match="expected an end"):
        run_tool(name, ["-c", "import time; time.sleep(60)"])
    with pytest.raises(ScriptError, match="expected JSON"):
        tools.parse("x", "Traceback")
