# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cryptography",
#     "docker",
#     "filelock",
#     "google-re2",
#     "jinja2",
#     "jsonschema",
#     "packaging",
#     "platformdirs",
#     "psutil",
#     "pyyaml",
#     "requests",
#     "rfc8785",
#     "rich",
#     "securesystemslib",
#     "urllib3",
# ]
# ///
"""Look for secrets where a run could leave them: checkout, history, logs, answers, evidence.

As a part of gate 3 it has the answers and logs of the attacks and of the fuzzing before it;
alone it starts the system and asks every operation first. Writes secrets_results.json beside
the summary: places, rules and keyed fingerprints, never a secret. To scan files of your own,
use scan_secrets.py; docs/secrets.md has the rules.

exit codes: 0 passed; 1 failed; 2 inconclusive; 64 bad arguments; 78 bad configuration;
130 interrupted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, make_parser, run
from common.options import add_run_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from evidence.recorder import Recorder, Step
    from security.secret_places import Looked
    from stack.model import Stack
    from stack.runtime import Runtime

EVIDENCE = "secrets"
STEPS = ("secrets in answers and logs", "secrets in the checkout", "secrets in the evidence")
EXAMPLES = (
    "python scripts/check_secrets.py",
    "python scripts/check_secrets.py --stack my/stack.yaml --runtime compose",
    "python scripts/run_gate.py gate3",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line (G3d)."""
    parser = make_parser(__doc__, EXAMPLES)
    add_run_options(parser)
    return parser.parse_args(argv)


def reservations(_options: argparse.Namespace, stack: Stack) -> list[str]:
    """Why a run can't count for a release (G7): nothing shortens this one.

    Raises:
        ConfigurationError: no section security, or a broken rule file: said before anything
            starts.
    """
    from security.secret_places import rules_of

    if stack.security is None:
        raise ConfigurationError(
            f"{stack.file}: expected the section security, got none: docs/security-probe.md"
        )
    rules_of(stack)
    return []


def measure(_options: argparse.Namespace, runtime: Runtime, recorder: Recorder) -> None:
    """Look at all places; figures are kept however it ends."""
    from security import secret_places as places

    stack = runtime.stack
    try:
        with recorder.step(STEPS[0]) as step:
            before = places.looked_at(recorder)
            if not {places.ANSWERS, places.LOGS} <= {item.place for item in before}:
                ask_everything(runtime, recorder, step)
            tell(recorder, step, [*places.looked_at(recorder)])
        with recorder.step(STEPS[1]) as step:
            checkout = places.look_at_checkout(recorder, stack)
            tell(recorder, step, [*checkout, *places.look_at_history(recorder, stack)])
            if allowed := places.allowed(places.looked_at(recorder)):
                said = f"{allowed} secrets are allowed by comments, or known by a baseline"
                step.detail += f"; {said}"
                recorder.reservations = [*recorder.reservations, said]
        with recorder.step(STEPS[2]) as step:
            tell(recorder, step, places.look_at_evidence(recorder, stack))
            known = known_in_evidence(runtime, recorder)
            if known["found"]:
                recorder.fail(step, f"{step.detail}; a secret of the run: {known['where'][0]}")
            recorder.facts["measured"][EVIDENCE] = {"known_values": known}
    finally:
        write_results(recorder)


def ask_everything(runtime: Runtime, recorder: Recorder, step: Step) -> None:
    """Start the system, ask each operation a few times, stop it."""
    from security.fuzz import GOOD_SHARE, Fuzzer
    from security.measuring import search_logs, start
    from security.probe import Probe

    security = runtime.stack.security
    assert security is not None  # noqa: S101 - `reservations` has refused none
    start(runtime, recorder, step)
    with Probe(runtime, security) as probe:
        fuzzer = Fuzzer(runtime.stack, security, probe.speaker, probe.never, seed=1)
        fuzzer.run(GOOD_SHARE, lambda _row: None)
        search_logs(runtime, probe, recorder, step, EVIDENCE)


def tell(recorder: Recorder, step: Step, found: Sequence[Looked]) -> None:
    """What the step says; a finding fails it."""
    from security.secret_places import figures, first_finding

    rows = figures(found)["places"]
    step.detail = ", ".join(
        f"{row['found']} in {name} ({row['bytes']:,} bytes)"
        for name, row in rows.items()
        if row["bytes"]
    )
    step.detail = step.detail or "nothing was read"
    if where := first_finding(found):
        recorder.fail(step, f"{step.detail}; {where}")


def known_in_evidence(runtime: Runtime, recorder: Recorder) -> dict[str, Any]:
    """Search what was written so far for the run's own secrets: the redactor has to work."""
    from security.known_values import search

    files = [path for path in recorder.folder.evidence.rglob("*") if path.is_file()]
    base = recorder.folder.evidence
    named = {path.relative_to(base).as_posix(): path for path in files}
    values = {value: f"the secret {name}" for name, value in runtime.secrets.items()}
    return search(named, values).as_json()


def write_results(recorder: Recorder) -> None:
    """The figures of the summary, and every scan in secrets_results.json (G8)."""
    from security.secret_places import figures, looked_at

    found = looked_at(recorder)
    begun = recorder.facts["measured"].get(EVIDENCE, {"known_values": None})
    recorder.facts["measured"][EVIDENCE] = {**figures(found), **begun}
    value = {"schema": "secrets_results/1", "places": [item.as_json() for item in found]}
    recorder.folder.write_json("secrets_results.json", value, "secrets_results")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, judge by gate 3, seal; outside of the ledger."""
    from gating.frame import run_standalone

    return run_standalone("gate3", sys.modules[__name__], argv, __file__)


if __name__ == "__main__":
    run(main)
