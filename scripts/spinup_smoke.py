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
#     "tiktoken",
#     "urllib3",
# ]
# ///
"""Boot a system from scratch, ask its golden requests, pack a repository, sign the transcript.

Writes <output-dir>/<YYYYMMDD-HHMMSS>/ with boot_transcript.json, boot_env.txt,
container_metadata.json, index.json (the golden pack, where the stack file names a packer),
report.html, a manifest and its signature. The first failing phase stops it and is named
(H1, H2, H5).

exit codes: 0 passed; 1 a phase failed; 2 inconclusive, or artifacts not written;
64 bad arguments; 78 bad configuration; 130 interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.cli import Exit, ScriptError, make_parser, positive_int, run
from common.options import add_run_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from evidence.recorder import Recorder
    from pack.request import PackRequest
    from stack.jobs import JobBoard
    from stack.model import Stack
    from stack.runtime import Runtime

TRANSCRIPT = "boot_transcript.json"
POLL_SECONDS, TIMEOUT_SECONDS, CONCURRENCY = 0.1, 60.0, 4
EXAMPLES = (
    "python scripts/spinup_smoke.py",
    "python scripts/spinup_smoke.py --jobs 9 --json",
    "python scripts/spinup_smoke.py --repo https://host/repository.git --budget 50000",
    "python scripts/spinup_smoke.py --stack my/stack.yaml --output-dir /tmp/proofs",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    parser.add_argument(
        "--jobs", type=positive_int, default=3, metavar="N", help="real jobs to run (default: 3)"
    )
    add = parser.add_argument
    add("--repo", metavar="PATH_OR_URL", help="what is packed (default: the stack file's)")
    add("--budget", type=positive_int, default=50_000, metavar="N", help="tokens of the pack")
    add("--tokenizer", default="cl100k", metavar="NAME", help="what counts them (default: cl100k)")
    add_run_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the phases of H1."""
    options = parse(argv)
    from evidence.keys import load_signer
    from evidence.session import remove_leftovers, run_recorded
    from stack.load import load_stack
    from stack.plan import plan_jobs
    from stack.runtime import open_runtime

    # The URL variables mean a system that already runs; a smoke boots its own (H1).
    stack = load_stack(options.stack, {})
    plan = plan_jobs(stack.workload, options.jobs, options.targets)
    wanted = read_wanted(options, stack)
    key = load_signer(options.key, options.public_key)
    remove_leftovers(options.output_dir)
    runtime = open_runtime(stack, options.runtime)
    stack = runtime.stack  # on a remote engine its services answer at another address

    def work(recorder: Recorder) -> None:
        from stack.jobs import JobBoard, JobRun
        from stack.workload import WorkloadClient

        clean = recorder.folder.redactor.text
        client = WorkloadClient(stack, runtime.secrets, recorder.folder.run_id, clean)
        board = JobBoard(client, [JobRun(job) for job in plan], recorder.trace.add)
        write_environment(recorder)
        try:
            boot(options, stack, runtime, recorder)
            ask_golden_requests(stack, board, recorder)
            pack(stack, board, recorder, wanted)
            run_jobs(stack, runtime, board, recorder)
        finally:
            note_figures(board, recorder)

    return run_recorded(
        runtime,
        lambda: open_recorder(options, stack, runtime, key, argv, packs=wanted is not None),
        work,
        last_step="sign the transcript",
        not_written=Exit.INCONCLUSIVE,
        as_json=options.json,
    )


def open_recorder(
    options: argparse.Namespace,
    stack: Stack,
    runtime: Runtime,
    key: Any,  # noqa: ANN401 - evidence.keys.SigningKey, imported late
    argv: Sequence[str] | None,
    *,
    packs: bool,
) -> Recorder:
    """The phases of H1, and the run folder that they are recorded in."""
    from evidence.criteria import load_criteria
    from evidence.envelope import command_line, make_envelope
    from evidence.recorder import Recorder, Step, open_folder

    names = ["validate environment", "build", "verify lock", "import", "start services"]
    names += ["golden requests", *(["golden pack"] if packs else [])]
    names += ["real jobs", "sign the transcript"]
    ours = {"validate environment", "verify lock", "sign the transcript"}
    command = command_line(list(argv) if argv is not None else None, __file__)
    recorder = Recorder(
        gate="smoke",
        summary_name=TRANSCRIPT,
        envelope=make_envelope("boot_transcript/1", stack, runtime.name, command),
        steps=[Step(n, name, system=name not in ours) for n, name in enumerate(names, start=1)],
        key=key,
        folder=open_folder(options.output_dir, [*runtime.secrets.values()]),
        to_stderr=options.json,
    )
    if packs:
        recorder.criteria += load_criteria("pack", runtime.name)
    return recorder


def write_environment(recorder: Recorder) -> None:
    """boot_env.txt: the allow-listed environment variables (H2)."""
    from evidence.redact import environment

    lines = [f"{name}={value}" for name, value in sorted(environment().items())]
    recorder.folder.write_text("boot_env.txt", "\n".join(lines) + "\n")


def boot(options: argparse.Namespace, stack: Stack, runtime: Runtime, recorder: Recorder) -> None:
    """Validate, build, verify the lock, import, start."""
    from common.schema import check_value
    from stack.health import check_services
    from stack.prerequisites import BOOT_CHECKS, FAILED, run_checks, surroundings

    with recorder.step("validate environment") as step:
        checks = run_checks(
            surroundings(stack, options.output_dir, runtime=runtime.name), BOOT_CHECKS
        )
        recorder.facts["prerequisites"] = [dict(vars(check)) for check in checks]
        for check in checks:
            if check.outcome == FAILED:
                raise ScriptError(f"{check.name}: {check.detail}")
        step.detail = f"{len(checks)} checks"
    with recorder.step("build") as step:
        runtime.prepare()
        metadata = runtime.metadata()
        check_value(metadata, "container_metadata", "container_metadata.json")
        recorder.folder.write_json("container_metadata.json", metadata)
        step.detail = str(metadata["summary"])
    with recorder.step("verify lock") as step:
        lock = recorder.facts["lock"] = runtime.verify_lock()
        if lock:
            step.detail = f"{lock['packages']} packages, {lock['files']} files as recorded"
        else:
            step.outcome, step.detail = "inconclusive", "the stack file names no lock"
    with recorder.step("import") as step:
        modules = recorder.facts["modules"] = runtime.import_modules()
        step.detail = f"{modules} modules"
        if not modules:
            step.outcome, step.detail = "inconclusive", "the stack file names no module to import"
    with recorder.step("start services") as step:
        started = runtime.start()
        recorder.facts["services"] = check_services(runtime, started)
        sick = [row["name"] for row in recorder.facts["services"] if not row["healthy"]]
        if sick:
            raise ScriptError(f"{sick[0]} no longer answers its health checks after the start")
        step.detail = f"{len(started)} services ready"


def read_wanted(options: argparse.Namespace, stack: Stack) -> PackRequest | None:
    """What is to be packed; None for a system without a packer. Read before anything starts.

    Raises:
        ScriptError: --repo for a system without a packer, or a repository that can't be read.
    """
    from pack.golden import source_of
    from pack.repository import read_repository
    from pack.request import PackRequest

    source = source_of(stack, options.repo)
    if source is None:
        return None
    return PackRequest(read_repository(source), options.budget, options.tokenizer)


def ask_golden_requests(stack: Stack, board: JobBoard, recorder: Recorder) -> None:
    """The golden requests of the stack file."""
    from stack.golden import ask_golden

    with recorder.step("golden requests") as step:
        answers = recorder.facts["golden"] = ask_golden(stack, board.client)
        wrong = [answer for answer in answers if answer["outcome"] != "passed"]
        if wrong:
            raise ScriptError(f"{wrong[0]['name']}: {wrong[0]['detail']}")
        step.detail = f"{len(answers)} answered as expected"
        if not answers:
            step.outcome, step.detail = "inconclusive", "the stack file has no golden request"


def pack(stack: Stack, board: JobBoard, recorder: Recorder, wanted: PackRequest | None) -> None:
    """The golden pack; a system that packs nothing has no such phase, and that is said."""
    from pack.golden import nothing_to_pack, pack_golden

    if wanted is None:
        recorder.print(nothing_to_pack(stack))
    else:
        pack_golden(stack, board.client, recorder, wanted)


def run_jobs(stack: Stack, runtime: Runtime, board: JobBoard, recorder: Recorder) -> None:
    """Real jobs, whose results are looked up in the store."""
    from stack.jobs import COMPLETED

    with recorder.step("real jobs") as step:
        board.submit_all(CONCURRENCY, lambda _count: None)
        board.wait_all(
            poll_seconds=POLL_SECONDS,
            timeout_seconds=TIMEOUT_SECONDS,
            concurrency=CONCURRENCY,
            progress=lambda _completed, _failed: None,
        )
        recorder.facts["persistence"] = board.verify(stack, runtime)
        step.detail = recorder.facts["persistence"]["store"]["detail"]
        undone = [run for run in board.runs if run.status != COMPLETED]
        if undone:
            raise ScriptError(f"job {undone[0].job.index}: {undone[0].status}: {undone[0].error}")
        note_figures(board, recorder)
        recorder.judge_step(step)


def note_figures(board: JobBoard, recorder: Recorder) -> None:
    """Counts and latencies that the criteria judge."""
    from stack.figures import job_figures, latencies
    from stack.jobs import COMPLETED
    from stack.plan import submissions_sha256

    facts, phases = recorder.facts, recorder.steps[:-1]
    golden = facts.get("golden")
    failed = sum(step.outcome == "failed" for step in phases)
    completed = len(board.with_status(COMPLETED))
    asked = any(run.submit_seconds is not None for run in board.runs)
    facts["jobs"] = job_figures(board.runs, submissions_sha256([run.job for run in board.runs]))
    facts["counts"] = {
        "phases_run": sum(step.reached for step in phases),
        "phases_failed": failed,
        "packages_verified": (facts.get("lock") or {}).get("packages"),
        "modules_imported": facts.get("modules") or None,
        "golden_passed": sum(row["outcome"] == "passed" for row in golden) if golden else None,
        "golden_failed": sum(row["outcome"] != "passed" for row in golden) if golden else None,
        "jobs_completed": completed if asked else None,
        "jobs_not_completed": len(board.runs) - completed if asked else None,
    }
    facts["latency"] = latencies(board)


if __name__ == "__main__":
    run(main)
