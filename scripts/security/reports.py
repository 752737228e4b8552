"""What a system says of its own controls: sealed as it was said, and held to what must be so.

Attacks show what one request can do. Which layers stood behind the one that refused it, and
whether the policy is the approved one, only the system can say (G3b, G3c, K10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from security.judge import SUCCESSES, json_problems, read_json
from security.places import NotHadError
from stack.placeholders import fill_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evidence.recorder import Recorder, Step
    from security.probe import Probe

SCHEMA = "security_report"


@dataclass(frozen=True)
class Report:
    """One answer, and what of it is not as it must be; None where it is."""

    name: str
    status: int | None
    value: Any
    problem: str | None

    def as_json(self) -> dict[str, Any]:
        """The file <name>_report.json."""
        return {
            "schema": f"{SCHEMA}/1",
            "name": self.name,
            "status": self.status,
            "problem": self.problem,
            "answer": self.value,
        }


def ask(probe: Probe, name: str, wanted: Mapping[str, Any]) -> Report:
    """Ask for one report of `security.reports`."""
    request = {key: value for key, value in wanted.items() if key != "expect"}
    try:
        found = probe.speaker.ready(request, {}).send()
    except NotHadError as problem:
        return Report(name, None, None, str(problem))
    if found.status is None or found.status not in SUCCESSES:
        said = f"expected a success, got {found.status or found.error or 'no answer'}"
        return Report(name, found.status, None, said)
    answer = found.answers[0]
    value = read_json(answer)
    if not isinstance(value, dict) or not value:
        return Report(name, found.status, None, "expected a JSON object, got none")
    expect = fill_value(dict(wanted["expect"]), probe.speaker.secrets)
    return Report(name, found.status, value, next(json_problems(expect, answer), None))


def ask_all(probe: Probe, recorder: Recorder, step: Step) -> dict[str, int]:
    """Ask for all of them and seal what was said; the counts of the summary."""
    held = 0
    for name, wanted in sorted(probe.security.reports.items()):
        report = ask(probe, name, wanted)
        file = f"{name.replace('-', '_')}_report.json"
        recorder.folder.write_json(file, report.as_json(), SCHEMA)
        held += report.problem is None
        if report.problem:
            recorder.fail(step, f"the report {name}: {report.problem}")
    planned = len(probe.security.reports)
    step.detail = f"{held} of {planned} reports are as they must be"
    return {"planned": planned, "held": held, "not_held": planned - held}
