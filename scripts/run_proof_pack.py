# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cryptography",
#     "docker",
#     "filelock",
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
"""Prove the whole flow of a system: start it, put jobs through it, verify its store, seal it.

Writes <output-dir>/<YYYYMMDD-HHMMSS>/ with run_summary.json, report.html, traces, logs,
a manifest and its signature.

exit codes: 0 passed; 1 start-up or health failed; 2 submission failed, timed out, or more
than half of the jobs failed; 3 fewer than half of the results verified in the store;
4 artifacts not written; 64 bad arguments; 78 bad configuration; 130 interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import (
    UsageError,
    make_parser,
    positive_float,
    positive_int,
    run,
)
from common.options import add_run_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from evidence.recorder import Recorder
    from stack.jobs import JobBoard
    from stack.model import Stack
    from stack.plan import Job
    from stack.runtime import Runtime

SUMMARY = "run_summary.json"
START_FAILED, JOBS_FAILED, NOT_STORED, NOT_WRITTEN = 1, 2, 3, 4
JOBS, MAXIMUM_CONCURRENCY = 10, 64
EXAMPLES = (
    "python scripts/run_proof_pack.py --jobs 20",
    "python scripts/run_proof_pack.py --stack my/stack.yaml --output-dir /tmp/proofs",
    "CONTROL_PLANE_URL=http://127.0.0.1:7050 python scripts/run_proof_pack.py --json",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line (P1, P4, P5, P10)."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "--jobs",
        type=positive_int,
        default=JOBS,
        metavar="N",
        help=f"how many jobs (default: {JOBS})",
    )
    add("--strategies", default="", help="comma list; default: all of the stack file")
    add("--concurrency", type=positive_int, default=8, help="submissions at a time (default: 8)")
    add("--poll-seconds", type=positive_float, default=2.0, help="between polls (default: 2)")
    add("--timeout-seconds", type=positive_float, default=600.0, help="for all jobs (default: 600)")
    add("--state", type=Path, help="the state folder of a stack that already runs")
    add_run_options(parser)
    options = parser.parse_args(argv)
    if options.concurrency > MAXIMUM_CONCURRENCY:
        raise UsageError(
            f"--concurrency: expected at most {MAXIMUM_CONCURRENCY}, got {options.concurrency}"
        )
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the six steps; the exit code is P2's."""
    options = parse(argv)
    from evidence.keys import load_signer
    from evidence.session import remove_leftovers, run_recorded
    from stack.load import load_stack
    from stack.plan import plan_jobs
    from stack.runtime import open_runtime

    stack = load_stack(options.stack)
    strategies = [name.strip() for name in options.strategies.split(",")]
    strategies = strategies if options.strategies else []
    plan = plan_jobs(stack.workload, options.jobs, options.targets, strategies)
    key = load_signer(options.key, options.public_key)
    remove_leftovers(options.output_dir)
    runtime = open_runtime(stack, options.runtime, state=options.state)
    stack = runtime.stack
    return run_recorded(
        runtime,
        lambda: open_recorder(options, stack, runtime, key, argv),
        lambda recorder: prove(options, stack, plan, runtime, recorder),
        last_step="write artifacts",
        not_written=NOT_WRITTEN,
        as_json=options.json,
    )


def open_recorder(
    options: argparse.Namespace,
    stack: Stack,
    runtime: Runtime,
    key: Any,  # noqa: ANN401 - evidence.keys.SigningKey, imported late
    argv: Sequence[str] | None,
) -> Recorder:
    """The six steps of P1, and the run folder that they are recorded in."""
    from evidence.envelope import command_line, make_envelope
    from evidence.recorder import Recorder, Step, open_folder

    steps = [
        Step(1, "start services", START_FAILED, system=True),
        Step(2, "check health", START_FAILED),
        Step(3, "submit jobs", JOBS_FAILED, system=True),
        Step(4, "wait for jobs", JOBS_FAILED, system=True),
        Step(5, "verify persistence", NOT_STORED),
        Step(6, "write artifacts", NOT_WRITTEN),
    ]
    command = command_line(list(argv) if argv is not None else None, __file__)
    return Recorder(
        gate="proof_pack",
        summary_name=SUMMARY,
        envelope=make_envelope("run_summary/1", stack, runtime.name, command),
        steps=steps,
        key=key,
        folder=open_folder(options.output_dir, [*runtime.secrets.values()]),
        to_stderr=options.json,
        reservations=reservations(options, stack),
    )


def reservations(options: argparse.Namespace, stack: Stack) -> list[str]:
    """Why a run with these arguments is real, but can't count for a release (G7)."""
    shortened = {
        f"shortened: {options.jobs} jobs, expected at least {JOBS}": options.jobs < JOBS,
        "shortened: not all strategies": bool(
            options.strategies and {*options.strategies.split(",")} != {*stack.workload.strategies}
        ),
    }
    return [reason for reason, holds in shortened.items() if holds]


def prove(
    options: argparse.Namespace,
    stack: Stack,
    plan: Sequence[Job],
    runtime: Runtime,
    recorder: Recorder,
) -> None:
    """Steps 1 to 5; a failed step ends them, and what was measured until then is kept."""
    from evidence.recorder import StopRun
    from stack.health import check_services
    from stack.jobs import JobBoard, JobRun
    from stack.workload import WorkloadClient

    clean = recorder.folder.redactor.text
    client = WorkloadClient(stack, runtime.secrets, recorder.folder.run_id, clean)
    board = JobBoard(client, [JobRun(job) for job in plan], recorder.trace.add)
    try:
        with recorder.step("start services") as step:
            runtime.prepare()
            write_metadata(runtime.metadata(), recorder)
            started = runtime.start()
            step.detail = f"{len(started)} services ready"
        with recorder.step("check health") as step:
            recorder.facts["services"] = check_services(runtime, started)
            step.detail = f"{sum(row['healthy'] for row in recorder.facts['services'])} healthy"
            note_figures(board, plan, recorder)
            recorder.judge_step(step)
        if step.error:
            raise StopRun
        run_jobs(options, board, recorder)
        with recorder.step("verify persistence") as step:
            found = recorder.facts["persistence"] = board.verify(stack, runtime)
            step.detail = found["store"]["detail"]
            if not found["store"]["verified"]:
                step.outcome, step.error = found["store"]["outcome"], step.detail
            recorder.judge_step(step)
    finally:
        note_figures(board, plan, recorder)


def write_metadata(metadata: dict[str, Any], recorder: Recorder) -> None:
    """container_metadata.json: what the services run from."""
    from common.schema import check_value

    check_value(metadata, "container_metadata", "container_metadata.json")
    recorder.folder.write_json("container_metadata.json", metadata)


def run_jobs(options: argparse.Namespace, board: JobBoard, recorder: Recorder) -> None:
    """Steps 3 and 4, with live progress."""
    from common.progress import Progress
    from evidence.recorder import StopRun
    from stack.jobs import COMPLETED, FAILED, NOT_SUBMITTED, TIMED_OUT

    total = len(board.runs)
    with recorder.step("submit jobs") as step, Progress("submitted", total) as bar:
        board.submit_all(options.concurrency, bar.update)
        refused = board.with_status(NOT_SUBMITTED)
        step.detail = f"{total - len(refused)} of {total} accepted"
        if refused:
            step.outcome, step.error = "failed", f"{step.detail}: {refused[0].error}"
    if len(refused) == total:
        raise StopRun
    with recorder.step("wait for jobs") as step, Progress("ended", total - len(refused)) as bar:
        board.wait_all(
            poll_seconds=options.poll_seconds,
            timeout_seconds=options.timeout_seconds,
            concurrency=options.concurrency,
            progress=lambda completed, failed: bar.update(completed + failed),
        )
        counts = {s: len(board.with_status(s)) for s in (COMPLETED, FAILED, TIMED_OUT)}
        step.detail = ", ".join(f"{count} {name}" for name, count in counts.items())
        undone = board.with_status(TIMED_OUT, FAILED)
        if undone:
            step.detail += f"; job {undone[0].job.index}: {undone[0].error}"
        note_figures(board, [run.job for run in board.runs], recorder)
        recorder.judge_step(step)


def note_figures(board: JobBoard, plan: Sequence[Job], recorder: Recorder) -> None:
    """Put counts and latencies into the facts that the criteria judge."""
    from stack.figures import job_figures, latencies
    from stack.jobs import NOT_SUBMITTED, TIMED_OUT
    from stack.plan import submissions_sha256

    facts = recorder.facts
    services = [row for row in facts.get("services", []) if row["required"]]
    reached = {step.name for step in recorder.steps if step.reached}
    facts["jobs"] = job_figures(board.runs, submissions_sha256(plan))
    facts["counts"] = {
        "services_healthy": sum(row["healthy"] for row in services) if services else None,
        "services_unhealthy": sum(not row["healthy"] for row in services) if services else None,
        "not_submitted": len(board.with_status(NOT_SUBMITTED))
        if "submit jobs" in reached
        else None,
        "timed_out": len(board.with_status(TIMED_OUT)) if "wait for jobs" in reached else None,
    }
    facts["latency"] = latencies(board)


if __name__ == "__main__":
    run(main)
