"""scripts/validate_config.py (K1): exit codes, waivers, evidence, and no value in any output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import validate_config
import yaml
from fakes.configuration import OTHER, STRONG, Configured
from fakes.system import write_value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.cli import ConfigurationError, Exit, UsageError
from common.schema import check_value
from configuration.model import Check, Row
from configuration.registry import CHECKS
from configuration.validation import figures, run_check, run_checks, verdict_of
from evidence import criteria
from evidence.redact import Redactor
from gating import gate_file
from gating.frame import run_standalone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from configuration.model import Subject
    from gating.gate_file import Measuring

REFERENCE = Path(__file__).resolve().parents[1] / "compose/reference/stack.yaml"


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configured:
    monkeypatch.setenv("FAKE_KEY", STRONG)
    return Configured(tmp_path)


def validate(configured: Configured, *more: str) -> int:
    path = write_value(configured.folder, configured.value)
    named = [text for file in configured.env_files for text in ("--env-file", str(file))]
    return validate_config.main(["validate", "--stack", str(path), *named, *more])


def test_a_good_configuration_exits_0_and_lists_every_check(
    configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate(configured) == Exit.PASSED
    out = capsys.readouterr().out
    for check in CHECKS:
        assert check.name in out
    assert "PASSED" in out


def test_a_finding_exits_1_and_is_told_with_its_place(
    configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.value["required_env"] = ["ONE", "TWO"]
    configured.env_file("API_TOKEN=short\n")
    assert validate(configured) == Exit.FAILED
    out = capsys.readouterr().out
    assert "- ONE: the variable ONE is not set" in out
    assert "- TWO: the variable TWO is not set" in out
    assert "settings.env:1: API_TOKEN: expected a secret of 32 characters" in out


def test_json_has_the_figures_of_the_schema(
    configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.env_file("API_TOKEN=short\n")
    assert validate(configured, "--json") == Exit.FAILED
    value = json.loads(capsys.readouterr().out)
    assert value.pop("verdict") == "failed"
    check_value(value, "configuration", "figures")
    assert value["checks"] == value["passed"] + value["failed"] + value["skipped"]
    assert value["checks"] == len(CHECKS)


def test_where_nothing_could_be_checked_it_is_inconclusive(configured: Configured) -> None:
    """A check that passes on nothing is the field's best-known defect."""

    def nothing(_subject: Subject) -> Iterator[Row]:
        """Nothing is looked at."""
        yield from ()

    found = run_checks(configured.subject(), checks=[Check("x", "K1", nothing, "no reason")])
    assert (found[0].outcome, found[0].reason) == ("skipped", "no reason")
    assert verdict_of(found) == "inconclusive"
    assert verdict_of([]) == "inconclusive"


def test_a_check_that_can_not_read_its_subject_fails(configured: Configured) -> None:
    def broken(_subject: Subject) -> Iterator[Row]:
        """Something is looked at."""
        yield Row("seen")
        raise ConfigurationError("can't read it: make it readable")

    found = run_check(Check("x", "K1", broken, ""), configured.subject())
    assert (found.outcome, found.rows[0].problem) == ("failed", "can't read it: make it readable")


@pytest.mark.parametrize(
    "arguments", [["validate", "--stat"], ["dance"], ["validate", "--state", "/none"]]
)
def test_bad_arguments_are_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        validate_config.main(arguments)


def test_a_broken_file_is_a_configuration_error(configured: Configured) -> None:
    with pytest.raises(ConfigurationError):
        validate(configured, "--env-file", str(configured.folder / "none.env"))
    with pytest.raises(ConfigurationError, match=r"\(process\), got 'swarm'"):
        validate(configured, "--runtime", "swarm")
    with pytest.raises(ConfigurationError, match="got none: start it with"):
        validate(configured, "--running")
    del configured.value["services"]
    with pytest.raises(ConfigurationError):
        validate(configured)


def test_the_checks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate_config.main(["checks"]) == Exit.PASSED
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CHECKS)
    assert all(len(line.split(maxsplit=2)) == 3 for line in lines), "each has a rule"


def test_every_check_has_a_name_of_its_own() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)


def test_no_name_of_a_check_is_redacted_from_evidence() -> None:
    """The redactor hides what stands under the name of a secret; an outcome is none."""
    outcomes = {check.name: "passed" for check in CHECKS}
    assert Redactor().value({"outcomes": outcomes}) == {"outcomes": outcomes}


def waive(configured: Configured, *rows: dict[str, str]) -> None:
    known = {
        "check": "secret-length",
        "place": "settings.env:1: API_TOKEN",
        "reason": "a token of a test system, ended soon",
        "expires": "2999-12-31",
    }
    path = configured.folder / "configuration_waivers.yaml"
    path.write_text(yaml.safe_dump({"waivers": [{**known, **row} for row in rows]}))


def test_a_waived_finding_does_not_count_and_is_counted(
    configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.env_file("API_TOKEN=9f1c7be2\n")
    rows: list[dict[str, str]] = [{}, {"check": "secret-strength"}]
    waive(configured, *rows, {"check": "credentials-on-disk", "place": "settings.env*"})
    assert validate(configured, "--json") == Exit.PASSED
    value = json.loads(capsys.readouterr().out)
    assert (value["waived"], value["outcomes"]["waivers"]) == (3, "passed")
    assert validate(configured) == Exit.PASSED
    assert "waived (a token of a test system, ended soon)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"expires": "2020-01-01"}, "the waiver ended on 2020-01-01"),
        ({"place": "elsewhere"}, "the waiver waives nothing"),
        ({"check": "no-such-check"}, "there is no such check"),
    ],
)
def test_a_waiver_that_does_not_fit_is_a_finding(
    configured: Configured, capsys: pytest.CaptureFixture[str], row: dict[str, str], why: str
) -> None:
    waive(configured, row)
    assert validate(configured) == Exit.FAILED
    assert why in capsys.readouterr().out


def test_a_waiver_of_a_skipped_check_is_no_finding(configured: Configured) -> None:
    waive(configured, {"check": "compose-privileges", "place": "*"})
    assert validate(configured) == Exit.PASSED


@pytest.mark.parametrize("row", [{"reason": "short"}, {"expires": "soon"}, {"more": "x"}])
def test_a_waiver_without_reason_or_end_is_refused(
    configured: Configured, row: dict[str, str]
) -> None:
    waive(configured, row)
    with pytest.raises(ConfigurationError, match="configuration_waivers"):
        validate(configured)


SECRET = st.text(
    st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters="'\"$#\\{}%@"),
    min_size=9,
    max_size=80,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(secret=SECRET)
def test_no_output_holds_a_value(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    secret: str,
) -> None:
    """In an env file, a URL, a Compose variable, a secret file and a file of the state folder."""
    configured = Configured(tmp_path)
    secret = f"Zq{secret}"  # no word that the output has anyway
    configured.environ = {"FAKE_KEY": secret, "P": secret}
    configured.env_files = []
    configured.env_file(f"API_TOKEN='{secret}'\nUSED_PASSWORD='{secret}'\n")
    told = {"DB_PASSWORD": "${P}", "LITERAL_TOKEN": secret, "U": "redis://a:${P}@far.example.com/"}
    configured.compose(
        {"db": {"image": "postgres", "environment": told, "command": f"x --password={secret}"}},
        secrets={"S": {"file": "./s.txt"}},
    )
    (tmp_path / "s.txt").write_text(secret)
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state" / "dump").write_text(secret)
    subject = configured.subject(state=tmp_path / "state")
    results = run_checks(subject)
    said = json.dumps(figures(results, subject), ensure_ascii=False)
    said += "\n".join(validate_config.lines_of(results)) + repr(subject) + repr(results)
    assert "API_TOKEN" in said
    assert secret not in said
    assert json.dumps(secret)[1:-1] not in said
    capsys.readouterr()


@pytest.mark.parametrize("runtime", ["process", "compose"])
def test_the_reference_system_passes_on_both_runtimes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    """What only runs can show is said to be skipped; the reference system in containers is too."""
    for name in ("CLIENT_TOKEN", "DATABASE_PASSWORD", "QUEUE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    assert validate_config.main(["validate", "--runtime", runtime, "--json"]) == Exit.PASSED
    value = json.loads(capsys.readouterr().out)
    assert (value["failed"], value["waived"]) == (0, 0)
    assert value["outcomes"]["credentials-of-a-run"] == "passed"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_running_system_is_looked_at_from_outside(
    configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--running`: its state folder, its secrets and its answers."""
    rule = {"path": "{state}/logs/*.log", "at_most": "644", "why": "a test"}
    configured.value["file_modes"] = [rule]
    path = write_value(configured.folder, configured.value)
    script = Path(validate_config.__file__).with_name("run_stack.py")
    process = subprocess.Popen(
        [sys.executable, str(script), "--stack", str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        while "Ctrl-C stops it" not in process.stdout.readline():
            assert process.poll() is None
        assert validate(configured, "--running", "--json") == Exit.PASSED
        out = capsys.readouterr().out
        (state,) = (configured.folder / "cache" / "state").iterdir()
        (state / "dump.txt").write_text(STRONG)
        assert validate(configured, "--running") == Exit.FAILED
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    found = json.loads(out)
    for name in ("file-modes", "cors-answered", "credentials-of-the-system"):
        assert found["outcomes"][name] == "passed"
    said = capsys.readouterr().out
    assert "dump.txt (FAKE_KEY; on a disk)" in said
    assert STRONG not in out + said


GATE = """\
version: 1
name: gate9
title: Configuration
measures: [{script: validate_config, rehearsal: []}]
evidence: gate9-summary.json
criteria:
  - {id: failed, metric: /measured/configuration/failed, equals: 0, unit: checks, why: "None."}
  - {id: passed, metric: /measured/configuration/passed, at_least: 5, unit: checks, why: "Some do."}
  - {id: strength, metric: /measured/configuration/outcomes/secret-strength, equals: passed,
     unit: "", why: "Looked at."}
"""


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gates"
    folder.mkdir()
    (folder / "gate9.yaml").write_text(GATE)
    for module in (criteria, gate_file):
        monkeypatch.setattr(module, "GATE_FOLDER", folder)


def run_gate(configured: Configured) -> tuple[int, dict[str, Any]]:
    path, output = write_value(configured.folder, configured.value), configured.folder / "out"
    arguments = ["--stack", str(path), "--output-dir", str(output)]
    module = cast("Measuring", validate_config)
    code = run_standalone("gate9", module, arguments, validate_config.__file__)
    (bundle,) = output.iterdir()
    (summary,) = bundle.glob("evidence/gate9-summary-*.json")
    texts = [item.read_bytes() for item in bundle.rglob("*") if item.is_file()]
    assert not any(STRONG.encode() in text for text in texts)
    return code, json.loads(summary.read_text())


@pytest.mark.usefixtures("gate")
def test_a_gate_measures_a_running_system(configured: Configured) -> None:
    """The state folder is looked into while the system runs."""
    rule = {"path": "{state}/logs/*.log", "at_most": "644", "why": "a test"}
    configured.value["file_modes"] = [rule]
    code, summary = run_gate(configured)
    assert code == Exit.PASSED, summary["error"]
    found = summary["measured"]["configuration"]
    assert found["running"] is True
    for name in ("file-modes", "cors-answered", "credentials-of-the-system"):
        assert found["outcomes"][name] == "passed"
    check_value(found, "configuration", "the sealed figures")
    assert summary["steps"][0]["outcome"] == "passed"


@pytest.mark.usefixtures("gate")
def test_what_a_running_system_must_have_is_no_pass_where_there_is_nothing(
    configured: Configured,
) -> None:
    """A stack file that asks for no file mode passed `policy 444` before."""
    _, summary = run_gate(configured)
    found = summary["measured"]["configuration"]
    assert found["needed_skipped"] == ["file-modes"]
    assert found["needed_passed"] == found["needed"] - 1 == 5


@pytest.mark.usefixtures("gate")
def test_a_run_with_waived_findings_counts_for_no_release(configured: Configured) -> None:
    """design.md, verdicts: waived can't count."""
    configured.value["runtimes"]["process"]["environment"]["OTHER_TOKEN"] = OTHER[:20]
    here = {"place": "stack.yaml: runtimes.process.environment.OTHER_TOKEN"}
    waive(configured, here, {**here, "check": "secret-strength"})
    _, summary = run_gate(configured)
    assert summary["measured"]["configuration"]["waived"] == 2
    assert "2 findings of the configuration are waived" in json.dumps(summary["eligible"])


@pytest.mark.usefixtures("gate")
def test_a_gate_fails_on_a_finding_and_names_the_check(configured: Configured) -> None:
    rule = {"path": "{state}/logs/*.log", "mode": "444", "why": "a test"}
    configured.value["file_modes"] = [rule]
    configured.value["runtimes"]["process"]["environment"]["OTHER_TOKEN"] = OTHER[:20]
    code, summary = run_gate(configured)
    assert code == Exit.FAILED
    assert "file-modes" in summary["error"]
    assert "secret-length" in summary["error"]
