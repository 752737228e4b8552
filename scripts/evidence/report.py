"""The run as one self-contained HTML file: `report.html` of every bundle.

Source: summary.json of a run (run_summary.json, boot_transcript.json); issue 2, item 6.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from evidence import curves, plots
from evidence.consistency import OPTIONAL, Summary, check_consistent, need, records
from evidence.judging import finite_number

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).with_name("templates")
MAXIMUM_ROWS = 200
MAXIMUM_TEXT = 800
MAXIMUM_FAILED_JOBS = 50
MAXIMUM_GROUPS = 40
MAXIMUM_PLOTS = 40


@dataclass(frozen=True)
class Rows:
    """The first rows of a list, and how many are not shown."""

    shown: Sequence[Any]
    more: int


@dataclass(frozen=True)
class Group:
    """The jobs that share one strategy, target or priority, by status."""

    name: str
    counts: Mapping[str, int]
    total: int
    bar: str


@dataclass(frozen=True)
class Measured:
    """What a part of `measured` has for people: curves over time, and findings of detectors."""

    name: str
    charts: Rows
    findings: Rows


def render(summary: Mapping[str, object]) -> str:
    """The report of a run as HTML: no network, no script, at most about a megabyte.

    Args:
        summary: a summary document; every text in it may be hostile.

    Raises:
        ScriptError: a part is missing, has another type than expected, or contradicts
            the verdict: no report can be had from it.
    """
    from jinja2 import UndefinedError

    check_consistent(summary)
    try:
        return _template().render(_view(summary))
    except UndefinedError as problem:
        raise ScriptError(f"no report from this summary: {problem}: write that part") from problem
    except (TypeError, ValueError, AttributeError) as problem:
        raise ScriptError(
            f"no report from this summary: expected other types, got {problem}"
        ) from problem


def meaning(summary: Summary) -> str:
    """What the verdict says, in one sentence."""
    outcomes = [row.get("outcome") for row in records(summary, "criteria")]
    failed, total = outcomes.count("failed"), len(outcomes)
    unknown = total - failed - outcomes.count("passed")
    if summary.get("interrupted"):
        return "The run was interrupted before it could judge the system."
    if summary["verdict"] == "passed":
        noun = "criterion was" if total == 1 else "criteria were"
        return f"All {total} {noun} measured and met." if total > 1 else f"The one {noun} met."
    if failed:
        rest = f", {unknown} could not be judged" if unknown else ""
        return f"{failed} of {total} criteria {'was' if failed == 1 else 'were'} not met{rest}."
    if summary["verdict"] == "failed":
        return "The run failed before every criterion could be measured."
    return f"The run can't tell: {unknown} of {total} criteria could not be judged."


def number(value: object) -> float | None:
    """A finite number, or None for anything else; a boolean is no number."""
    return float(value) if isinstance(value, int | float) and finite_number(value) else None


def quantity(value: object) -> str:
    """A value as it was measured: never rounded, so that a near miss can be seen."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else plots.legible(value, 300)


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quantity"] = quantity
    environment.filters["seconds"] = lambda value: _measured(value, plots.duration)
    environment.filters["milliseconds"] = lambda value: _measured(
        value, lambda ms: plots.duration(ms / 1000)
    )
    environment.filters["gibibytes"] = lambda value: _measured(
        value, lambda size: f"{size / 2**30:.1f} GiB"
    )
    environment.filters["outcome"] = lambda value: plots.known(value, plots.MARKS, "outcome")
    return environment.get_template("report.html.j2")


def _finalize(value: object) -> object:
    """Every value of the template passes here: markup of ours as it is, all else legible."""
    from jinja2 import Undefined

    if isinstance(value, Undefined) or hasattr(value, "__html__"):
        return value
    return "not measured" if value is None else plots.legible(value, MAXIMUM_TEXT)


def _measured(value: object, show: Any) -> str:  # noqa: ANN401 - a function of one number
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        return str(value)  # raises: a part that must be there is missing
    found = number(value)
    return "not measured" if found is None else str(show(found))


def _view(summary: Summary) -> dict[str, Any]:
    """Everything that the template shows; the template itself computes nothing."""
    from markupsafe import Markup

    from evidence.verify_page import signature_command

    jobs = summary.get("jobs")
    items = records(jobs, "items") if jobs is not None else []
    return {
        **dict.fromkeys(OPTIONAL),
        **summary,
        "meaning": meaning(summary),
        "marks": plots.MARKS,
        "statuses": plots.STATUSES,
        "swatches": {status: Markup(plots.swatch(status)) for status in plots.STATUSES},  # noqa: S704 - escaped there
        "criteria": _first(records(summary, "criteria")),
        "steps": _first(records(summary, "steps")),
        "services": _first(records(summary, "services")),
        "golden": _first(records(summary, "golden")) if summary.get("golden") else None,
        "latency": _pairs(summary, "latency") if summary.get("latency") else None,
        "signature_command": signature_command(str(need(summary, "key", Mapping).get("algorithm"))),
        "command_line": shlex.join(map(str, need(summary, "command", Sequence))),
        "reasons": _first(need(need(summary, "eligible", Mapping), "reasons", Sequence)),
        "tables": {
            "Environment variables": _pairs(summary, "environment"),
            "Versions": _pairs(summary, "versions"),
        },
        "timeline": Markup(plots.timeline(_spans(summary))),  # noqa: S704 - escaped there
        "latency_plot": Markup(plots.cumulative(_series(items))),  # noqa: S704 - escaped there
        # A gate measures other things: a latency of jobs is not missing there.
        "has_jobs": "measured" not in summary,
        "measured_parts": _measured_parts(summary),
        "groups": {key: _groups(items, key) for key in ("strategy", "target", "priority")},
        "failed_jobs": _first(
            [item for item in items if item.get("status") != "completed"], MAXIMUM_FAILED_JOBS
        ),
    }


def _first(values: Sequence[Any], limit: int = MAXIMUM_ROWS) -> Rows:
    return Rows(values[:limit], max(0, len(values) - limit))


def _pairs(summary: Summary, name: str) -> Rows:
    return _first(sorted(need(summary, name, Mapping).items()))


def _spans(summary: Summary) -> list[plots.Span]:
    spans: list[plots.Span] = []
    for step in records(summary, "steps")[:MAXIMUM_ROWS]:
        last = spans[-1].start_seconds + spans[-1].duration_seconds if spans else 0.0
        start = number(step.get("started_seconds"))
        length = number(step.get("duration_seconds"))
        outcome = plots.known(step.get("outcome"), plots.MARKS, "step")
        # A step that never started stands, without a length, where it would have begun.
        spans.append(
            plots.Span(
                str(step.get("name")),
                outcome,
                last if start is None else max(0.0, start),
                max(0.0, length or 0.0),
            )
        )
    return spans


def _measured_parts(summary: Summary) -> list[Measured]:
    """Any part of `measured` may have `plots` and `findings`; one without either is not shown."""
    from markupsafe import Markup

    found = []
    parts = need(summary, "measured", Mapping) if "measured" in summary else {}
    for name, part in sorted(parts.items()):
        if not isinstance(part, Mapping) or not {"plots", "findings"} & part.keys():
            continue
        both = {key: records(part, key) if key in part else [] for key in ("plots", "findings")}
        charts = _first(both["plots"], MAXIMUM_PLOTS)
        drawn = [curves.draw(curves.read_chart(value)) for value in charts.shown]
        shown = [Markup(text) for text in drawn if text]  # noqa: S704 - escaped there
        found.append(Measured(name, Rows(shown, charts.more), _first(both["findings"])))
    return found


def _series(items: Sequence[Summary]) -> list[plots.Series]:
    found = []
    for name, key in (("submission", "submit_seconds"), ("completion", "completed_seconds")):
        values = [number(item.get(key)) for item in items]
        found.append(plots.Series(name, tuple(v for v in values if v is not None and v >= 0)))
    return found


def _groups(items: Sequence[Summary], key: str) -> Rows:
    from markupsafe import Markup

    counts: dict[str, dict[str, int]] = {}
    for item in items:
        status = plots.known(item.get("status"), plots.STATUSES, "job status")
        group = counts.setdefault(str(item.get(key)), dict.fromkeys(plots.STATUSES, 0))
        group[status] += 1
    full = max((sum(group.values()) for group in counts.values()), default=0)
    rows = [
        Group(name, group, sum(group.values()), Markup(plots.stacked_bar(group, full)))  # noqa: S704 - escaped there
        for name, group in sorted(
            counts.items(), key=lambda pair: (-sum(pair[1].values()), pair[0])
        )
    ]
    return _first(rows, MAXIMUM_GROUPS)
