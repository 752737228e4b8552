"""scripts/probe_security.py: each way of judging turns red when what it looks at happens (G3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import probe_security
import pytest
from fakes.attacked import CONTROLS, attacked_value, corpus, write_attacked

from common.cli import ConfigurationError, Exit, UsageError
from security import instruments
from security.corpus import load_corpora
from security.instruments import Seen
from security.judge import Observed, judge
from security.model import Case, CaseResult, Problem
from security.probe import Probe
from security.self_test import got_through
from security.wire import Answer, Exchange
from stack.load import load_stack
from stack.process import create
from stack.runtime import open_runtime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# The case of the fake corpus, the control that it is for, and what its bypass is seen by.
KINDS = [
    ("status", "token", "status"),
    ("text", "paths", "text"),
    ("file", "paths", "file"),
    ("process", "programs", "process"),
    ("environment", "environment", "environment"),
    ("connection", "hosts", "connection"),
    ("log", "logs", "log"),
    ("trace", "errors", "text"),
    ("size", "sizes", "size"),
    ("header", "headers", "header"),
    ("same", "once", "successes"),
    ("follow-up", "sessions", "follow-up"),
    ("health", "health", "health"),
    ("answers", "framing", "answers"),
    ("meanwhile", "neighbours", "meanwhile"),
]


def probed(stack_file: Path, *wanted: str) -> list[CaseResult]:
    """The results of cases against a system that runs for as long."""
    stack = load_stack(stack_file, {})
    runtime = create(stack, {})
    assert stack.security
    try:
        runtime.prepare()
        runtime.start()
        with Probe(runtime, stack.security) as probe:
            return probe.run([case for case in load_corpora(stack) if case.id in wanted])
    finally:
        runtime.stop()
        runtime.close()


class Ran:
    """A run of the script, and what it sealed."""

    def __init__(self, stack_file: Path, *options: str) -> None:
        output = stack_file.parent / "out"
        where = ["--stack", str(stack_file), "--output-dir", str(output)]
        self.code = probe_security.main([*options, *where])
        (self.bundle,) = output.iterdir()
        (path,) = self.bundle.glob("evidence/gate3-summary-*.json")
        self.summary: dict[str, Any] = json.loads(path.read_text())
        self.figures = self.summary["measured"]["security"]
        self.failed = {row["id"] for row in self.summary["criteria"] if row["outcome"] == "failed"}

    def evidence(self, name: str) -> Any:
        return json.loads((self.bundle / "evidence" / name).read_text())


def test_a_system_with_all_controls_holds_every_case(tmp_path: Path) -> None:
    ran = Ran(write_attacked(tmp_path), "--no-self-test")
    assert ran.code == Exit.PASSED
    assert ran.figures["held"] == len(KINDS)
    assert ran.figures["instruments"] == ["connections", "files", "processes"]
    assert ran.figures["known_values"]["found"] == 0
    assert ran.figures["known_values"]["logs"] == 1
    rows = ran.evidence("interface_results.json")["cases"]
    assert [row["id"] for row in rows] == [case for case, _, _ in KINDS]
    assert {row["outcome"] for row in rows} == {"held"}


@pytest.mark.parametrize(("case", "control", "kind"), KINDS, ids=[row[0] for row in KINDS])
def test_each_kind_of_effect_is_seen(tmp_path: Path, case: str, control: str, kind: str) -> None:
    """A judgement that can't turn red is none."""
    (result,) = probed(write_attacked(tmp_path, off=control), case)
    assert result.outcome == "bypassed"
    assert kind in {problem.kind for problem in result.problems}


def test_a_bypass_fails_the_run_and_shows_in_the_report(tmp_path: Path) -> None:
    ran = Ran(write_attacked(tmp_path, off="paths"), "--no-self-test", "--control", "paths")
    assert ran.code == Exit.FAILED
    assert ran.failed == {"bypasses"}
    assert ran.figures["bypasses"] == 2
    assert "text: bypassed: status" in ran.summary["error"]
    page = (ran.bundle / "evidence/report.html").read_text()
    assert "case of fake" in page
    assert "expected 403, got 200" in page


def test_the_self_test_sees_each_control_missed(tmp_path: Path) -> None:
    ran = Ran(write_attacked(tmp_path), "--self-test")
    found = ran.figures["self_test"]
    assert [row["never_failing"] for row in found["rows"]] == [[]] * len(CONTROLS)
    assert found["controls"] == len(CONTROLS)
    assert found["controls_without_failing_case"] == 0
    assert found["cases"] == len(KINDS)
    table = ran.evidence("security_self_test.json")["rows"]
    cases = [item for row in table for item in row["cases"]]
    assert {item["id"] for item in cases if item["got_through"]} == {k for k, _, _ in KINDS}
    assert ran.summary["verdict"] == "inconclusive"  # the attacks themselves were not made


def result_of(expect: dict[str, Any], *kinds: str, outcome: str = "bypassed") -> CaseResult:
    """What a case came to while its control was off."""
    case = Case("a", "fake", "auth", "token", "CWE-1", "a", {}, {"status": [403], **expect})
    return CaseResult(case, outcome, "", "", tuple(Problem(kind, "") for kind in kinds))


@pytest.mark.parametrize(
    ("expect", "kinds", "proves"),
    [
        ({}, ["status"], True),
        ({}, ["status", "health"], False),
        ({}, ["health"], False),
        ({"healthy": True}, ["status", "health"], True),
        ({"no_connection": True}, ["status"], False),
        ({"no_connection": True}, ["status", "connection"], True),
        ({"no_connection": True}, ["health"], False),
        ({"absent": ["a"]}, ["text"], True),
    ],
)
def test_a_control_is_missed_where_the_effect_that_it_prevents_was_seen(
    expect: dict[str, Any],
    kinds: list[str],
    proves: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """200 for a tool that failed, or a weakened service that crashed, proves no control."""
    assert got_through(result_of(expect, *kinds)) is proves
    assert not got_through(result_of(expect, *kinds, outcome="unexpected"))


def test_without_a_weakened_command_the_attacks_are_made_and_the_controls_are_not_judged(
    tmp_path: Path,
) -> None:
    value = attacked_value()
    del value["security"]["weakened"]
    ran = Ran(write_attacked(tmp_path, value=value))
    assert ran.failed == {"cases", "families"}  # of so small a corpus
    assert ran.figures["held"] == len(KINDS)
    assert ran.figures["self_test"] is None
    outcomes = {row["id"]: row["outcome"] for row in ran.summary["criteria"]}
    assert outcomes["controls-tested"] == "inconclusive"


def test_what_a_launcher_was_given_says_nothing_of_the_program() -> None:
    """Only the program's own environment counts: one that was never seen is no clean one."""
    expect = {"status": [200], "clean_environment": "echo a"}
    launcher = Seen(7, "python launch.py echo a", "")
    dirty = Seen(7, "echo a ", "KEY=secret value\n")

    def outcome(*processes: Seen) -> str:
        exchanges = [Exchange((Answer(200),))]
        return judge(expect, Observed(exchanges, (), processes), {"secret value": "a secret"})[0]

    assert outcome(launcher) == "vacuous"
    assert outcome(launcher, Seen(7, "echo a ", "PATH=/bin\n")) == "held"
    assert outcome(launcher, dirty) == "bypassed"


def test_a_process_that_becomes_another_program_is_seen_twice() -> None:
    text = f"becomes-{os.getpid()}"
    script = (
        "import os, sys, time; time.sleep(0.3);"
        "os.execve(sys.executable, ['late', '-c', 'import time; time.sleep(0.3)', sys.argv[1]],"
        "{'LATE': '1'})"
    )
    with instruments.ProcessTable([text]) as table:
        subprocess.run([sys.executable, "-S", "-c", script, text], check=True, timeout=30)
    late = [item for item in table.found() if item.arguments.startswith("late")]
    assert {"LATE=1" in (item.environment or "") for item in late} == {True}
    assert len(table.found()) > len(late)


@pytest.mark.parametrize(
    ("wanted", "path", "said"),
    [
        ({"/openapi": "3.1.0"}, "/openapi.json", None),
        ({"/openapi": "9"}, "/openapi.json", "/openapi: expected"),
        ({"/openapi": "3.1.0"}, "/nothing", "expected a success, got 404"),
        ({"/openapi": "3.1.0"}, "/healthz", "expected a JSON object, got none"),
    ],
)
def test_what_a_system_says_of_itself_is_sealed_and_held_to_what_must_be(
    tmp_path: Path, wanted: dict[str, str], path: str, said: str | None
) -> None:
    """G3b, G3c: as the layers of a sandbox, which no attack can see."""
    value = attacked_value()
    item = {"service": "front", "path": path, "as": "client", "expect": {"json": wanted}}
    value["security"]["reports"] = {"layers": item}
    ran = Ran(write_attacked(tmp_path, value=value), "--no-self-test", "--case", "status")
    assert ran.figures["reports"] == {
        "planned": 1,
        "held": int(not said),
        "not_held": int(bool(said)),
    }
    sealed = ran.evidence("layers_report.json")
    if said is None:
        assert (ran.code, sealed["answer"]["openapi"]) == (Exit.PASSED, "3.1.0")
    else:
        assert "reports-not-held" in ran.failed
        assert said in sealed["problem"]
        assert said in ran.summary["error"]


def test_a_watched_place_that_is_not_there_is_unseen(tmp_path: Path) -> None:
    """A path with a mistake in it never changes."""
    value = attacked_value()
    value["security"]["places"]["MISTYPED"] = {"process": "{state}/outsidee"}
    value["security"]["watched"] = ["OUTSIDE", "MISTYPED"]
    ran = Ran(write_attacked(tmp_path, value=value), "--no-self-test", "--case", "status")
    assert ran.figures["watched_unseen"] == 1
    assert "watched-unseen" in ran.failed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--case", "status", "--case", "statsu"],
            "--case: there is no 'statsu': did you mean stat",
        ),
        (["--control", "nonexistent"], "--control: there is no 'nonexistent': expected one of"),
        (["--control", "paths", "--case", "status"], "none in common"),
    ],
)
def test_a_name_that_there_is_not_is_refused(tmp_path: Path, options: list[str], said: str) -> None:
    path = write_attacked(tmp_path)
    with pytest.raises(UsageError, match=said):
        probe_security.main([*options, "--stack", str(path), "--output-dir", str(tmp_path / "o")])


def test_a_case_that_never_fails_is_named(tmp_path: Path) -> None:
    rows = corpus()
    rows["cases"] = [
        {**row, "control": "token"} if row["id"] == "header" else row for row in rows["cases"]
    ]
    ran = Ran(write_attacked(tmp_path, rows=rows), "--self-test", "--control", "token")
    assert ran.code == Exit.FAILED
    assert ran.figures["self_test"]["cases_that_never_fail"] == 1
    assert "prove nothing: header" in ran.summary["error"]


def test_a_control_without_a_case_is_named(tmp_path: Path) -> None:
    value = attacked_value()
    value["security"]["controls"] = [{"id": "unused", "says": "nobody looks at it"}]
    rows = corpus()
    rows["cases"] = [rows["cases"][0] | {"control": "unused"}]
    ran = Ran(write_attacked(tmp_path, rows=rows, value=value), "--self-test")
    assert ran.code == Exit.FAILED
    assert ran.figures["self_test"]["controls_without_failing_case"] == 1


def test_a_control_that_can_not_be_switched_off_is_not_tested(tmp_path: Path) -> None:
    value = attacked_value()
    value["security"]["weakened"]["command"] = ["{python}", "-c", "raise SystemExit(78)"]
    ran = Ran(write_attacked(tmp_path, value=value), "--self-test", "--control", "token")
    assert ran.code == Exit.FAILED
    assert "front ended with exit code 78" in ran.figures["self_test"]["rows"][0]["error"]


def test_a_refusal_for_another_reason_is_vacuous_and_no_pass(tmp_path: Path) -> None:
    """The attack is refused, but so is everything."""
    stack_file = write_attacked(tmp_path, fault="broken")
    ran = Ran(stack_file, "--no-self-test", "--control", "programs", "--control", "hosts")
    assert ran.code == Exit.FAILED
    assert ran.figures["vacuous"] == 2
    assert ran.failed == {"vacuous"}
    rows = ran.evidence("interface_results.json")["cases"]
    assert rows[0]["got"] == "the twin has to work: expected a success, got 403"


def test_what_is_given_has_to_work(tmp_path: Path) -> None:
    (result,) = probed(write_attacked(tmp_path, fault="broken"), "text")
    assert (result.outcome, result.got[:7]) == ("vacuous", "given 1")


def test_an_environment_that_was_never_seen_is_vacuous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instruments, "_environment", lambda _pid: None)
    (result,) = probed(write_attacked(tmp_path), "environment")
    assert result.outcome == "vacuous"


def test_an_unexpected_refusal_and_a_5xx_are_counted(tmp_path: Path) -> None:
    ran = Ran(write_attacked(tmp_path, fault="failing"), "--no-self-test", "--control", "programs")
    assert ran.failed == {"unexpected-answers", "errors-5xx"}
    assert ran.figures["errors_5xx"] == 1


def test_a_case_whose_place_can_not_be_seen_is_not_run(tmp_path: Path) -> None:
    value = attacked_value()
    value["security"]["places"]["OUTSIDE"] = {"compose": "front:/outside"}
    value["runtimes"]["compose"] = {"file": "compose.yaml"}
    value["stores"] = {"results": value["stores"]["results"]}
    (result,) = probed(write_attacked(tmp_path, value=value), "file")
    assert result.outcome == "not_run"


def test_a_case_whose_log_can_not_be_seen_is_not_run(tmp_path: Path) -> None:
    (result,) = probed(write_attacked(tmp_path, fault="log-gone"), "log")
    assert result.outcome == "not_run"
    assert result.got == "the log of front can't be seen on the runtime process"


def test_a_log_that_nobody_searched_is_not_clean(tmp_path: Path) -> None:
    stack_file = write_attacked(tmp_path, fault="log-gone")
    ran = Ran(stack_file, "--no-self-test", "--control", "programs")
    assert ran.code == Exit.INCONCLUSIVE
    assert ran.figures["held"] == 1
    assert ran.figures["known_values"] is None
    assert ran.summary["error"] == "the log of front can't be seen"


def test_a_text_that_came_late_into_a_log_is_found_at_the_end(tmp_path: Path) -> None:
    """It is not there yet when the case is judged: containers are some time behind."""
    ran = Ran(write_attacked(tmp_path, fault="late-log"), "--no-self-test", "--case", "log")
    assert ran.figures["held"] == 1
    assert ran.failed == {"values-in-logs"}
    assert ran.figures["known_values"]["where"] == ["front: a text of not_logged"]


def test_an_effect_that_nobody_looks_for_has_to_be_explained(tmp_path: Path) -> None:
    rows = corpus()
    del rows["cases"][0]["no_effect"]
    ran = Ran(write_attacked(tmp_path, rows=rows), "--no-self-test", "--case", "status")
    assert ran.failed == {"by-answer-alone"}


def test_a_blind_instrument_ends_the_run_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instruments, "_arguments", lambda _pid: "")
    ran = Ran(write_attacked(tmp_path), "--no-self-test")
    assert ran.code == Exit.INCONCLUSIVE
    assert "can't see processes" in ran.summary["error"]


def test_a_secret_in_a_log_fails_the_run_and_stands_in_no_evidence(tmp_path: Path) -> None:
    ran = Ran(write_attacked(tmp_path, off="logs"), "--no-self-test", "--control", "programs")
    assert ran.failed == {"values-in-logs"}
    assert ran.figures["known_values"]["where"] == ["front: the secret FAKE_KEY"]
    assert "[redacted" in (ran.bundle / "evidence/front_logs.txt").read_text()


def test_a_system_that_already_runs_is_attacked_and_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack_file = write_attacked(tmp_path)
    stack = load_stack(stack_file, {})
    runtime = create(stack, {})
    try:
        runtime.start()
        environ = {"ATTACKED_URL": stack.services[0].url, "FAKE_KEY": runtime.secrets["FAKE_KEY"]}
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        ran = Ran(stack_file, "--no-self-test", "--control", "programs")
        assert ran.figures["held"] == 1
        assert ran.figures["known_values"] is None  # whoever started it has its logs
        assert ran.code == Exit.INCONCLUSIVE
        assert runtime.state_of("front").endswith("runs")
    finally:
        runtime.stop()
        runtime.close()


def test_arguments_that_choose_cases_make_a_rehearsal(tmp_path: Path) -> None:
    stack = load_stack(write_attacked(tmp_path), {})
    options = probe_security.parse(["--family", "fake", "--no-self-test"])
    reasons = probe_security.reservations(options, stack)
    assert reasons == ["shortened: only fake", "shortened: no self-test"]
    assert probe_security.reservations(probe_security.parse([]), stack) == []
    with pytest.raises(UsageError):
        probe_security.parse(["--self-test", "--no-self-test"])


def test_a_choice_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    stack_file = write_attacked(tmp_path)
    with pytest.raises(UsageError, match="there is no 'none': expected one of answers"):
        probe_security.main(
            ["--case", "none", "--stack", str(stack_file), "--output-dir", str(tmp_path / "out")]
        )


BROKEN: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("control", lambda row: row.update(control="none"), "control: expected one of token"),
    ("template", lambda row: row.update(template="none"), "expected a template of this file"),
    ("both", lambda row: row.update(no_twin="none needed"), "either twin or no_twin"),
    ("neither", lambda row: row.pop("twin"), "either twin or no_twin"),
    ("service", lambda row: row["attack"].update(service="none"), "service: expected one of front"),
    ("identity", lambda row: row["attack"].update({"as": "root"}), "no identity 'root'"),
    ("placeholder", lambda row: row.update(payload="{nothing}"), "unknown placeholder {nothing}"),
    ("key", lambda row: row.update(kind="x"), "unknown key 'kind'"),
    ("token", lambda row: row["attack"].update(token={"caller": "a"}), "security.service_tokens"),
    ("status", lambda row: row["expect"].update(status=None), "expected array, got null"),
]


@pytest.mark.parametrize(
    ("change", "said"), [row[1:] for row in BROKEN], ids=[r[0] for r in BROKEN]
)
def test_a_broken_corpus_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    rows = corpus()
    change(rows["cases"][0])
    stack = load_stack(write_attacked(tmp_path, rows=rows), {})
    with pytest.raises(ConfigurationError) as caught:
        load_corpora(stack)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'corpus.yaml'}:")


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    rows = corpus()
    rows["cases"].append(rows["cases"][0])
    stack = load_stack(write_attacked(tmp_path, rows=rows), {})
    with pytest.raises(ConfigurationError, match="'status' stands twice"):
        load_corpora(stack)


def test_a_stack_without_the_section_is_refused(tmp_path: Path) -> None:
    value = attacked_value()
    del value["security"]
    stack = load_stack(write_attacked(tmp_path, value=value), {})
    assert open_runtime(stack, environ={}).stack.security is None
    with pytest.raises(ConfigurationError, match="expected the section security"):
        load_corpora(stack)


SECTIONS: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("twice", lambda s: s["controls"].append(s["controls"][0]), "'token' stands twice"),
    ("service", lambda s: s["controls"][0].update(services=["none"]), "one of front, got 'none'"),
    ("watched", lambda s: s.update(watched=["NONE"]), "expected a place of `places`"),
    ("place", lambda s: s["places"].update(A={"process": "{nothing}"}), "placeholder {nothing}"),
    ("secret", lambda s: s["identities"].update(a={"B": "{secret:NONE}"}), "{secret:NONE}"),
    ("key", lambda s: s.update(corpus=["a"]), "unknown key 'corpus'"),
]


@pytest.mark.parametrize(
    ("change", "said"), [row[1:] for row in SECTIONS], ids=[row[0] for row in SECTIONS]
)
def test_a_broken_section_is_refused_with_its_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    value = attacked_value()
    change(value["security"])
    with pytest.raises(ConfigurationError) as caught:
        load_stack(write_attacked(tmp_path, value=value), {})
    assert said in str(caught.value)
