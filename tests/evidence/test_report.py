"""report.html: complete, self-contained, legible, and closed to whatever a summary holds."""

from __future__ import annotations

import runpy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from common.cli import ScriptError
from evidence.report import meaning, quantity, render

# By path: `evidence` names the package in scripts/, so this folder can't be imported from.
_samples = runpy.run_path(str(Path(__file__).with_name("test_junit.py")))
sample_jobs = _samples["sample_jobs"]
sample_criterion = _samples["sample_criterion"]
sample_summary = _samples["sample_summary"]

HOSTILE = (
    "<script>document.title='injected'</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</style></svg><svg onload=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "abc\u202egnp.exe\u200f\x00\x1b[31m\ud800",
    "w" * 5000,
    "javascript:alert(1)",
)
SECTIONS = (
    "criteria",
    "timeline",
    "latency",
    "jobs",
    "failed-jobs",
    "golden",
    "services",
    "persistence",
    "environment",
    "provenance",
    "verify",
)


def bare_summary() -> dict[str, Any]:
    """A run that broke before anything was measured: no optional part, empty lists."""
    summary = sample_summary()
    for name in ("jobs", "latency", "persistence"):
        del summary[name]
    return {
        **summary,
        "verdict": "inconclusive",
        "exit_code": 2,
        "interrupted": True,
        "error": "interrupted: nothing was left running",
        "commit": {"sha": None, "dirty": None},
        "criteria": [],
        "steps": [],
        "services": [],
    }


def hostile_summary(text: str) -> dict[str, Any]:
    """A failed run in which every free text is `text`; checked words and figures stay."""
    fixed = {"verdict", "outcome", "status", "schema", "rule"}

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            # Names of services, versions and steps are free as well, names of fields are not.
            free = key in {"versions", "environment", "latency"}
            return {(f"{k}{text}" if free else k): spoil(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [spoil(item) for item in value]
        return text if isinstance(value, str) and key not in fixed else value

    summary = sample_summary() | {
        "verdict": "failed",
        "error": "x",
        "exit_code": 2,
        "golden": [
            {
                "name": "chat",
                "service": "gateway",
                "method": "POST",
                "path": "/v1/chat",
                "outcome": "failed",
                "duration_seconds": 0.1,
                "detail": "expected 200, got 500",
            }
        ],
    }
    spoilt: dict[str, Any] = spoil(summary)
    for number, row in enumerate(spoilt["criteria"]):  # no id stands twice
        row["id"] += str(number)
    return spoilt


class Page(HTMLParser):
    """What a browser would see: tags, attributes, section ids, visible text."""

    def __init__(self, html: str) -> None:
        """Read a page."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_every_section_is_there_in_order() -> None:
    page = Page(render(sample_summary()))
    assert [section["id"] for section in page.all("section")] == list(SECTIONS)


def test_verdict_stands_in_words_with_eligibility_and_reasons() -> None:
    page = Page(render(sample_summary()))
    assert "PASSED" in page.text
    assert "All 2 criteria were measured and met." in page.text
    assert "does not count for a release" in page.text
    assert "uncommitted changes" in page.text


def test_absent_sections_say_not_measured() -> None:
    page = Page(render(bare_summary()))
    assert [section["id"] for section in page.all("section")] == list(SECTIONS)
    for what in ("Criteria", "Steps", "Latency by step", "Jobs", "Golden requests", "Persistence"):
        assert f"{what}: not measured in this run." in page.text
    assert "The run was interrupted" in page.text


def test_null_sections_are_the_same_as_absent_ones() -> None:
    absent = {"jobs": None, "latency": None, "persistence": None, "golden": None}
    assert render(bare_summary() | absent) == render(bare_summary())


def test_page_needs_no_network_and_runs_no_script() -> None:
    """Issue 2, item 6: one self-contained file."""
    page = Page(render(sample_summary()))
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert not {"script", "link", "img", "iframe", "object", "a"} & {tag for tag, _ in page.tags}
    assert not any({"src", "href"} & set(attributes) for _, attributes in page.tags)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_adds_no_element(text: str) -> None:
    plain = Page(render(hostile_summary("plain")))
    page = Page(render(hostile_summary(text)))
    allowed = {tag for tag, _ in plain.tags}
    assert {tag for tag, _ in page.tags} <= allowed
    assert len(page.all("svg")) == len(plain.all("svg"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_template_syntax_in_a_value_is_not_evaluated() -> None:
    text = Page(render(hostile_summary(HOSTILE[3]))).text
    assert HOSTILE[3] in text
    assert "49{% raw %}" not in text


def test_direction_and_control_characters_become_visible() -> None:
    html = render(hostile_summary(HOSTILE[4]))
    assert "⟨U+202E⟩" in html
    assert "⟨U+0000⟩" in html
    assert not {"\u202e", "\u200f", "\x00", "\x1b", "\ud800"} & set(html)
    html.encode("utf-8")


def test_very_long_text_is_cut_and_says_so() -> None:
    html = render(hostile_summary("w" * 50_000))
    assert "(49200 more characters)" in html
    assert len(html) < 1_500_000


def test_ten_thousand_jobs_stay_small_and_the_list_is_bounded() -> None:
    summary = sample_summary() | {"jobs": sample_jobs(10_000, failed=9_000)}
    for index, item in enumerate(summary["jobs"]["items"]):
        item["target"] = f"target-{index}"
    html = render(summary)
    assert len(html.encode()) < 1_500_000
    assert "8950 more jobs that did not complete" in html
    assert "9960 more groups" in html


def test_a_gate_says_nothing_about_jobs_that_it_never_has() -> None:
    summary = bare_summary() | {"measured": {}}
    assert "Latency of single jobs" not in Page(render(summary)).text
    assert "Latency by step: not measured in this run." in Page(render(summary)).text


def test_no_jobs_at_all_are_shown_as_not_measured() -> None:
    page = Page(render(sample_summary() | {"jobs": sample_jobs(0, failed=0)}))
    assert "Latency of single jobs: not measured in this run." in page.text
    assert "Failed ratio: not measured" in page.text
    assert "No job was planned." in page.text


def test_accessible_structure() -> None:
    page = Page(render(sample_summary()))
    tables = len(page.all("table"))
    assert len(page.all("caption")) == tables
    assert len(page.all("h1")) == 1
    assert all(head.get("scope") in {"row", "col"} for head in page.all("th"))
    pictures = [svg for svg in page.all("svg") if svg.get("aria-hidden") is None]
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in pictures)
    assert page.all("html")[0]["lang"] == "en"


def test_outcomes_have_a_word_beside_their_colour() -> None:
    summary = sample_summary()
    summary["criteria"].append(sample_criterion("late", "inconclusive", None))
    text = Page(render(summary | {"verdict": "inconclusive", "exit_code": 2})).text
    assert "? inconclusive" in text
    assert "✓ passed" in text


def test_same_summary_gives_the_same_bytes() -> None:
    assert render(sample_summary()) == render(sample_summary())


@pytest.mark.parametrize(
    "change",
    [
        {"criteria": []},
        {"criteria": [sample_criterion("x", "failed", 0.9)]},
        {"criteria": [sample_criterion("x", "inconclusive", None)]},
        {"interrupted": True},
        {"error": "the disk is full"},
        {"exit_code": 1},
        {"golden": [{"name": "chat", "outcome": "failed"}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_passed_verdict_that_its_parts_contradict_is_refused(change: dict[str, Any]) -> None:
    """design.md, "Verdicts": nothing measured is never passed."""
    with pytest.raises(ScriptError, match="contradicts itself"):
        render(sample_summary() | change)


@pytest.mark.parametrize("verdict", ["PASSED", "ok", "", None, True])
def test_unknown_verdict_is_refused(verdict: object) -> None:
    with pytest.raises(ScriptError, match="verdict"):
        render(sample_summary() | {"verdict": verdict})


# `schema` is for the reader of the JSON file: the report does not show it.
REQUIRED = sorted(set(sample_summary()) - {"jobs", "latency", "persistence", "schema"})


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_required_part_is_refused(name: str) -> None:
    summary = sample_summary()
    del summary[name]
    with pytest.raises(ScriptError, match=name):
        render(summary)


@pytest.mark.parametrize("name", ["criteria", "steps", "services", "versions", "jobs", "golden"])
def test_part_of_another_type_is_refused(name: str) -> None:
    with pytest.raises(ScriptError, match="expected"):
        render(sample_summary() | {name: "text"})


def test_unknown_job_status_is_refused() -> None:
    summary = sample_summary()
    summary["jobs"]["items"][0]["status"] = "fine"
    with pytest.raises(ScriptError, match="job status: expected one of"):
        render(summary)


def test_near_miss_is_not_rounded_away() -> None:
    assert quantity(0.8499996) == "0.8499996"
    assert quantity(None) == "not measured"
    assert quantity(True) == "true"  # noqa: FBT003 - a value as it may stand in a summary
    assert quantity(12345) == "12,345"


def test_meaning_counts_what_was_not_met() -> None:
    summary = sample_summary() | {"verdict": "failed", "exit_code": 1}
    summary["criteria"].append(sample_criterion("late", "failed", 0.7))
    assert meaning(summary) == "1 of 3 criteria was not met."
    assert meaning(summary | {"criteria": []}).startswith("The run failed before")
