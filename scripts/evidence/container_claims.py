"""What a summary may not say of its containers, images and figures: refused by sealer and verifier.

Source: design.md, "Verdicts"; requirements P7, P9.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evidence.consistency import ClaimError, Summary, need, records
from evidence.files import shown
from evidence.judging import PASSED, finite_number

COMPOSE = "compose"
METADATA = "container_metadata.json"
COUNTS = ("containers", "containers_down", "container_restarts", "oom_kills")


def container_lies(summary: Summary) -> list[str]:
    """One line for each thing that containers, images and the runtime contradict.

    Raises:
        ClaimError: a part that the rules need is missing or of another type.
    """
    rows, images = records(summary, "containers"), records(summary, "images")
    found = _runtime(summary, rows, images)
    served = {row.get("name") for row in _services(summary)}
    for row in rows:
        found += [f"containers: {shown(row.get('service'))}: {line}" for line in _row(row, served)]
    return found + _images(rows, images) + _counts(summary, rows)


def metadata_lies(metadata: object, images: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each image of the summary that container_metadata.json does not know.

    Args:
        metadata: the value of the file.
        images: reference and hex SHA-256 of each image that ran.

    Raises:
        ClaimError: the file is no object, or its images are no list of objects.
    """
    if not isinstance(metadata, Mapping):
        raise ClaimError(f"expected an object, got {shown(metadata)}")
    known = {(row.get("reference"), row.get("id")) for row in records(metadata, "images")}
    return [
        f"images: expected {shown(reference)} with sha256:{digest}, as in the summary, got none"
        for reference, digest in images
        if (reference, f"sha256:{digest}") not in known
    ]


def figure_lies(summary: Summary) -> list[str]:
    """One line for each criterion that observed another value than stands at its metric."""
    found = []
    for row in records(summary, "criteria"):
        metric = row.get("metric")
        path = metric.split("/") if isinstance(metric, str) else []
        # What criteria say of themselves is no measurement.
        if len(path) < 2 or path[0] or path[1] == "criteria":  # noqa: PLR2004 - "", then a key
            found.append(
                f"{shown(row.get('id'))}: expected the JSON Pointer of a figure as its metric, "
                f"got {shown(metric)}"
            )
            continue
        value, observed = _plain(_at(summary, path[1:])), row.get("observed")
        if isinstance(observed, bool) or observed != value:
            found.append(
                f"{shown(row.get('id'))}: expected what stands at {shown(metric)}, "
                f"{shown(value)}, got {shown(observed)}"
            )
    return found


def _at(value: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - the JSON edge
    # As stack.workload.pointer, whose imports would cost each verification.
    for raw in path:
        key = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _plain(value: object) -> object:
    """A value as criteria write it down (evidence.criteria)."""
    return value if value is None or type(value) is str or finite_number(value) else str(value)


def _services(summary: Summary) -> list[Summary]:
    return records(summary, "services") if summary.get("services") is not None else []


def _runtime(summary: Summary, rows: list[Summary], images: list[Summary]) -> list[str]:
    runtime = summary.get("runtime")
    found = []
    for name, part in (("containers", rows), ("images", images)):
        if part and runtime != COMPOSE:
            found.append(f"{name}: expected none on the runtime {shown(runtime)}, got {len(part)}")
        if not part and runtime == COMPOSE and summary.get("verdict") == PASSED:
            found.append(f"{name}: expected some in a passed run in containers, got none")
    return found


def _row(row: Summary, served: set[Any]) -> list[str]:
    state, code, restarts = row.get("state"), row.get("exit_code"), row.get("restarts")
    task = row.get("task")
    wanted = {
        "`task` to be true or false": isinstance(task, bool),
        "`oom_killed` to be true or false": isinstance(row.get("oom_killed"), bool),
        "a whole number of restarts": type(restarts) is int and restarts >= 0,
        "no exit code of a container that runs": state != "running" or code is None,
        "a task that exited with code 0": not task
        or (state == "exited" and type(code) is int and code == 0),
        "a service that is no task": not task or row.get("service") not in served,
    }
    return [f"expected {what}, got another row" for what, holds in wanted.items() if not holds]


def _images(rows: list[Summary], images: list[Summary]) -> list[str]:
    named = [(row.get("reference"), row.get("id")) for row in images]
    used = [(row.get("image"), row.get("image_id")) for row in rows]
    found = [
        f"containers: expected an image of `images`, got {shown(pair)}"
        for pair in used
        if pair not in named
    ]
    # The images are subjects of the attestation: what did not run is no part of it.
    found += [
        f"images: expected images that a container runs, got {shown(pair)}"
        for pair in named
        if pair not in used
    ]
    references = [reference for reference, _ in named]
    return found + [
        f"images: expected each reference once, got {shown(reference)} again"
        for number, reference in enumerate(references)
        if reference in references[:number]
    ]


def _counts(summary: Summary, rows: list[Summary]) -> list[str]:
    """Without rows nothing was counted; an unhealthy container is down."""
    counts = summary.get("counts")
    counts = counts if isinstance(counts, Mapping) else {}
    if not rows:
        return [
            f"counts.{name}: expected no figure without containers, got {shown(counts[name])}"
            for name in COUNTS
            if counts.get(name) is not None and (name != "containers" or counts[name] != 0)
        ]
    return [
        f"counts.{name}: expected a number, got {shown(counts.get(name))}"
        for name in COUNTS
        if not finite_number(need(summary, "counts", Mapping).get(name))
    ]
