"""junit.xml: every part a test case, never green on nothing, well-formed whatever it holds."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from common.cli import ScriptError
from evidence.junit import junit_xml


def sample_jobs(count: int, failed: int = 2) -> dict[str, Any]:
    """Jobs spread over strategies, priorities and targets; the last `failed` of them fail."""
    items = [
        {
            "index": index,
            "id": f"job-{index:05}",
            "strategy": ("vanilla", "stealth", "assault")[index % 3],
            "priority": ("high", "low", "normal")[index * 7 % 3],
            "target": ("plain-site", "http-test", "json-api")[index // 3 % 3],
            "status": "completed" if index < count - failed else ("failed", "timed_out")[index % 2],
            "submit_seconds": 0.0021 + (index * 37 % 101) * 0.00013,
            "completed_seconds": 0.31 + (index * 53 % 97) * 0.021,
            "error": None if index < count - failed else "the target answered 503 five times",
        }
        for index in range(count)
    ]
    done = [item["status"] for item in items]
    return {
        "planned": count,
        "submitted": count,
        "completed": done.count("completed"),
        "failed": done.count("failed"),
        "timed_out": done.count("timed_out"),
        "lost": 0,
        "failed_ratio": failed / count if count else None,
        "submissions_sha256": "5b" * 32,
        "items": items,
    }


def sample_criterion(name: str, outcome: str, observed: object) -> dict[str, Any]:
    """A criterion that allows at most half of the jobs to fail."""
    return {
        "id": name,
        "metric": "/jobs/failed_ratio",
        "rule": "at_most",
        "expected": 0.5,
        "observed": observed,
        "unit": "ratio",
        "why": "More than half of the jobs failing means that the flow does not work (P2).",
        "outcome": outcome,
    }


def sample_summary(jobs: int = 40) -> dict[str, Any]:
    """The summary of a passed, but self-signed run."""
    names = ("start services", "health checks", "submit jobs", "wait", "verify", "write artifacts")
    lengths = (1.62, 0.21, 0.48, 4.03, 0.35, 0.12)
    starts = [sum(lengths[:n]) for n in range(len(names))]
    return {
        "schema": "run_summary/1",
        "script": "run_proof_pack",
        "run_id": "20261120-234512",
        "started_utc": "2026-11-20T23:45:12Z",
        "ended_utc": "2026-11-20T23:45:19Z",
        "duration_seconds": 6.81,
        "commit": {"sha": "0f" * 20, "dirty": True},
        "contract_sha256": "ab" * 32,
        "stack": {"name": "reference", "file": "stack.yaml", "sha256": "cd" * 32},
        "runtime": "process",
        "host": {
            "system": "Linux",
            "release": "6.1.0",
            "machine": "x86_64",
            "python": "3.11.9",
            "cpus": 2,
            "memory_bytes": 8 << 30,
        },
        "versions": {"psutil": "7.2.2", "requests": "2.34.2"},
        "command": ["scripts/run_proof_pack.py", "--jobs", str(jobs)],
        "environment": {"PYTHONHASHSEED": "0", "TZ": "UTC"},
        "verdict": "passed",
        "exit_code": 0,
        "interrupted": False,
        "eligible": {"value": False, "reasons": ["self-signed", "uncommitted changes"]},
        "error": None,
        "criteria": [
            sample_criterion("failed-jobs", "passed", 0.05),
            sample_criterion("lost-jobs", "passed", 0),
        ],
        "steps": [
            {
                "number": number + 1,
                "name": name,
                "outcome": "passed",
                "started_seconds": starts[number],
                "duration_seconds": lengths[number],
                "detail": "7 of 7 services ready" if number == 0 else "",
                "error": None,
            }
            for number, name in enumerate(names)
        ],
        "services": [
            {
                "name": name,
                "url": f"http://127.0.0.1:{port}",
                "role": "system",
                "pid": 4000 + port,
                "ready_seconds": 0.9 + (port - 7000) / 100,
                "healthy": True,
            }
            for name, port in (("gateway", 7000), ("model-router", 7010), ("executor", 7040))
        ],
        "jobs": sample_jobs(jobs),
        "latency": {
            "submit": {"count": jobs, "p50_ms": 8.1, "p95_ms": 14.2, "p99_ms": 15.0, "max_ms": 15.1}
        },
        "persistence": {
            "api": {
                "outcome": "passed",
                "checked": 38,
                "verified": 38,
                "detail": "through the API",
            },
            "store": {"outcome": "passed", "checked": 38, "verified": 38, "detail": "SHA-256"},
            "memory": {"outcome": "skipped", "checked": 0, "verified": 0, "detail": "no service"},
            "verified_ratio": 1.0,
            "duplicates": 0,
        },
        "trace": {"head": "ef" * 32, "count": 412},
        "key": {"kind": "self-signed", "keyid": "12" * 32, "public_key_file": "signing-key.pub"},
    }


STRUCTURE = {
    "testsuites": ({"testsuite"}, {"name"}),
    "testsuite": ({"properties", "testcase"}, {"name", "tests", "failures", "errors", "time"}),
    "properties": ({"property"}, set()),
    "property": (set(), {"name", "value"}),
    "testcase": ({"failure", "error", "skipped"}, {"classname", "name", "time"}),
    "failure": (set(), {"message", "type"}),
    "error": (set(), {"message", "type"}),
    "skipped": (set(), {"message"}),
}


def parse(summary: dict[str, Any]) -> ET.Element:
    """The XML of a summary, held against the structure of jenkins-junit.xsd."""
    root = ET.fromstring(junit_xml(summary))  # noqa: S314 - made here by the code under test
    assert root.tag == "testsuites"
    for element in root.iter():
        children, attributes = STRUCTURE[element.tag]
        assert {child.tag for child in element} <= children
        assert attributes <= set(element.keys())
    for suite in root.iter("testsuite"):
        for tag, counter in {"testcase": "tests", "failure": "failures", "error": "errors"}.items():
            assert int(suite.get(counter, "")) == len(list(suite.iter(tag)))
    return root


def cases(root: ET.Element) -> dict[str, str]:
    """Outcome tag of each case by name; "" is passed."""
    return {
        case.get("name", ""): "".join(child.tag for child in case) for case in root.iter("testcase")
    }


def test_each_part_is_a_test_case() -> None:
    golden = [{"name": "chat", "outcome": "passed", "duration_seconds": 0.25, "detail": ""}]
    root = parse(sample_summary() | {"golden": golden})
    assert {"failed-jobs", "start services", "chat", "verdict"} <= set(cases(root))
    assert {case.get("classname") for case in root.iter("testcase")} == {"run_proof_pack"}
    times = {case.get("name"): case.get("time") for case in root.iter("testcase")}
    assert times["chat"] == "0.250"
    assert times["wait"] == "4.030"


def test_cases_of_one_name_do_not_hide_each_other() -> None:
    summary = sample_summary() | {"verdict": "failed", "exit_code": 1}
    summary["criteria"] = [sample_criterion("wait", "failed", 0.9)]
    found = cases(parse(summary))
    assert (found["wait"], found["wait (steps)"]) == ("failure", "")


def test_passed_run_has_no_failure_and_no_error() -> None:
    root = parse(sample_summary())
    assert set(cases(root).values()) == {""}
    assert (root.get("failures"), root.get("errors")) == ("0", "0")


@pytest.mark.parametrize(
    ("outcome", "tag"), [("failed", "failure"), ("inconclusive", "error"), ("skipped", "skipped")]
)
def test_outcome_has_its_element(outcome: str, tag: str) -> None:
    summary = sample_summary() | {"verdict": "failed", "exit_code": 1}
    summary["steps"][0] |= {"outcome": outcome, "detail": "too late"}
    root = parse(summary)
    assert cases(root)["start services"] == tag
    assert next(root.iter(tag)).get("message") == "too late"


def test_failed_criterion_says_what_was_expected() -> None:
    summary = sample_summary() | {"verdict": "failed", "exit_code": 1}
    summary["criteria"].append(sample_criterion("late", "failed", 0.9))
    message = next(parse(summary).iter("failure")).get("message")
    assert message == "/jobs/failed_ratio: expected at most 0.5 ratio, got 0.9 ratio"


def test_unmeasured_criterion_says_so() -> None:
    summary = sample_summary() | {"verdict": "inconclusive", "exit_code": 2}
    summary["criteria"] = [sample_criterion("late", "inconclusive", None)]
    message = next(parse(summary).iter("error")).get("message", "")
    assert message.endswith("got not measured")


@pytest.mark.parametrize(("verdict", "tag"), [("failed", "failure"), ("inconclusive", "error")])
def test_run_that_measured_nothing_is_not_green(verdict: str, tag: str) -> None:
    """design.md, "Verdicts": nothing measured is never passed."""
    bare = {"criteria": [], "steps": [], "verdict": verdict, "exit_code": 2, "error": "no space"}
    root = parse(sample_summary() | bare)
    assert cases(root) == {"verdict": tag}
    assert next(root.iter(tag)).get("message") == "no space"


def test_contradicted_verdict_is_refused() -> None:
    with pytest.raises(ScriptError, match="contradicts itself"):
        junit_xml(sample_summary() | {"criteria": []})


def test_unknown_outcome_is_refused() -> None:
    summary = sample_summary() | {"verdict": "failed", "exit_code": 1}
    summary["steps"][0]["outcome"] = "fine"
    with pytest.raises(ScriptError, match="outcome: expected one of"):
        junit_xml(summary)


@pytest.mark.parametrize(
    "text", ["\x00\x08\x1b[0m", "\ud800", "\uffff", "]]></testsuite>", "<&\"'>", "a\nb\r\u202e"]
)
def test_illegal_and_hostile_characters_leave_it_well_formed(text: str) -> None:
    summary = sample_summary() | {"verdict": "failed", "exit_code": 1, "error": text}
    summary["run_id"] = text
    summary["criteria"] = [sample_criterion(text, "failed", text)]
    summary["steps"][0] |= {"name": text, "detail": text, "error": text, "outcome": "failed"}
    names = cases(parse(summary))
    assert len(names) == len(summary["steps"]) + 2


def test_time_stamp_has_the_form_of_the_schema() -> None:
    assert next(parse(sample_summary()).iter("testsuite")).get("timestamp") == "2026-11-20T23:45:12"
