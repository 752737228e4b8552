"""Read the `traffic` section of a stack file, and check what its schema can't say."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from stack.placeholders import unknown_placeholders
from traffic.model import CAPTURE, TIMEOUT_SECONDS, Expect, Profile, Step
from traffic.schedule import exact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from common.documents import JsonPath

    Trouble = tuple[JsonPath, str]

_ONE_REQUEST = ("method", "path", "headers", "body", "bodies", "expect")
_SEQUENCE = "sequence"


def read_traffic(items: Sequence[Mapping[str, Any]]) -> tuple[Profile, ...]:
    """The profiles of a checked section."""
    return tuple(_profile(item) for item in items)


def traffic_problems(
    items: Sequence[Mapping[str, Any]], services: Collection[str], secrets: Collection[str]
) -> Iterator[Trouble]:
    """Each place in the section that can't be right, with what was expected there.

    Args:
        items: the section, which fits its schema.
        services: names of the stack file.
        secrets: names of the stack file.
    """
    names = [item["name"] for item in items]
    for index, item in enumerate(items):
        where: JsonPath = ("traffic", index)
        if item["name"] in names[:index]:
            yield where, f"the profile {item['name']!r} stands twice: expected once"
        if item["service"] not in services:
            got = f"got {item['service']!r}"
            yield (*where, "service"), f"expected one of {', '.join(services)}, {got}"
        yield from ((where, text) for text in _shape_problems(item))
        yield from _step_problems(item, where, secrets)


def _shape_problems(item: Mapping[str, Any]) -> Iterator[str]:
    if ("per_second" in item) == ("every_seconds" in item):
        yield "expected either per_second or every_seconds"
    if ("first_token" in item) != item.get("stream", False):
        yield "expected first_token where stream is true, and only there"
    if "steps" not in item:
        if missing := [key for key in ("path", "expect") if key not in item]:
            yield f"expected the key {missing[0]!r}, or steps"
        if "body" in item and "bodies" in item:
            yield "expected either body or bodies, got both"
        return
    if both := [key for key in _ONE_REQUEST if key in item]:
        yield f"expected either steps or {both[0]}, got both"
    if item.get("stream"):
        yield "expected one request in a streamed profile, got steps"


def _step_problems(
    item: Mapping[str, Any], where: JsonPath, secrets: Collection[str]
) -> Iterator[Trouble]:
    known = {_SEQUENCE}
    steps = item.get("steps", [])
    for at, step in enumerate(steps):
        place: JsonPath = (*where, "steps", at)
        if step.get("proves_end") and at != len(steps) - 1:
            yield place, "expected proves_end at the last step only"
        if "body" in step and "bodies" in step:
            yield place, "expected either body or bodies, got both"
        yield from _unknown(step, place, known, secrets)
        known |= {CAPTURE + name for name in step.get("capture", {})}
    if not steps:
        yield from _unknown(item, where, known, secrets)


def _unknown(
    request: Mapping[str, Any], where: JsonPath, known: set[str], secrets: Collection[str]
) -> Iterator[Trouble]:
    """Placeholders that nothing fills; a secret belongs into headers, which are never kept."""
    for key in ("path", "headers", "body", "bodies", "expect"):
        names = known | {f"secret:{name}" for name in secrets} if key == "headers" else known
        for place, name in unknown_placeholders(request.get(key), names, (*where, key)):
            expected = ", ".join(f"{{{one}}}" for one in sorted(names))
            yield place, f"unknown placeholder {{{name}}}: expected {expected}"


def _profile(item: Mapping[str, Any]) -> Profile:
    if "every_seconds" in item:
        interval = exact(item["every_seconds"])
    else:
        interval = Fraction(1) / exact(item["per_second"])
    return Profile(
        name=item["name"],
        service=item["service"],
        interval_seconds=interval,
        steps=tuple(_step(step) for step in item.get("steps", [item])),
        timeout_seconds=float(item.get("timeout_seconds", TIMEOUT_SECONDS)),
        first_token=item.get("first_token"),
    )


def _step(item: Mapping[str, Any]) -> Step:
    method, expect = item.get("method", "GET"), item["expect"]
    return Step(
        name=item["name"],
        method=method,
        path=item["path"],
        headers=item.get("headers", {}),
        bodies=tuple(item.get("bodies", [item.get("body")])),
        expect=Expect(expect["status"], expect.get("json", {}), tuple(expect.get("contains", ()))),
        capture=item.get("capture", {}),
        after_seconds=float(item.get("after_seconds", 0)),
        proves_end=item.get("proves_end", False),
    )
