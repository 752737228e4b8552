"""The frame of a recorded run: whatever happens inside, the system stops and the run is sealed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from common import log
from common.cli import ScriptError, nothing_started, uninterrupted
from evidence.criteria import FAILED, INCONCLUSIVE
from evidence.judging import wanted
from evidence.recorder import StopRun
from evidence.run_folder import ArtifactError, sweep_partials
from evidence.verify_page import verification_commands
from stack.records import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from evidence.recorder import Recorder
    from stack.runtime import Runtime


def remove_leftovers(output_dir: Path) -> None:
    """End and remove everything that a killed run left, and say so."""
    for line in [*sweep(), *(f"removed {path.name}" for path in sweep_partials(output_dir))]:
        log.warn(f"left by a killed run: {line}")


def run_recorded(
    runtime: Runtime,
    open_recorder: Callable[[], Recorder],
    work: Callable[[Recorder], None],
    *,
    last_step: str,
    not_written: int,
    as_json: bool,
) -> int:
    """Run `work`, stop the system, seal what was measured, print the verdict.

    Args:
        runtime: the system; it is stopped and closed on every way out.
        open_recorder: makes the run folder, before anything is started.
        work: the steps but the last; it may end early with StopRun or Ctrl-C.
        last_step: the step that writes the artifacts.
        not_written: exit code where they can't be written; nothing that verifies is left.
        as_json: print the summary on stdout.

    Returns:
        The exit code that the summary states.

    Raises:
        ArtifactError: with `not_written` as its code.
    """
    try:
        with nothing_started():
            recorder = open_recorder()
        try:
            _work(recorder, work)
            with uninterrupted():
                _stop(runtime, recorder)
                return _finish(recorder, runtime, last_step, as_json=as_json)
        except BaseException:
            recorder.folder.discard()
            raise
    except ArtifactError as problem:
        problem.code = not_written
        raise
    finally:
        with uninterrupted():
            runtime.stop()
            runtime.close()


def _work(recorder: Recorder, work: Callable[[Recorder], None]) -> None:
    try:
        work(recorder)
    except StopRun:
        pass
    except KeyboardInterrupt:
        recorder.interrupted = True


def _stop(runtime: Runtime, recorder: Recorder) -> None:
    left = runtime.stop()
    lines = [*recorder.facts.get("left_over", ()), *(left or ())]
    recorder.facts.setdefault("counts", {})["left_over"] = None if left is None else len(lines)
    recorder.facts["left_over"] = lines
    for line in left or ():
        log.warn(line)
        recorder.trace.add("left over", detail=line)
    _note_containers(runtime.observed(), recorder)


def _note_containers(observed: Mapping[str, Any], recorder: Recorder) -> None:
    """Images and containers into the facts, counted for the criteria; docker_ps.txt (P7)."""
    recorder.facts |= observed
    rows = observed.get("containers")
    if rows is None:
        return
    from stack.compose.containers import is_down, render_ps

    # Only what ran is evidence of the run; container_metadata.json has all that was built.
    ran = {(row["image"], row["image_id"]) for row in rows}
    images = observed.get("images", ())
    recorder.facts["images"] = [row for row in images if (row["reference"], row["id"]) in ran]
    recorder.facts["counts"] |= {
        "containers": len(rows),
        "containers_down": sum(map(is_down, rows)) if rows else None,
        "container_restarts": sum(row["restarts"] for row in rows) if rows else None,
        "oom_kills": sum(row["oom_killed"] for row in rows) if rows else None,
    }
    if rows:
        recorder.folder.write_text("docker_ps.txt", render_ps(rows))


def _finish(recorder: Recorder, runtime: Runtime, last_step: str, *, as_json: bool) -> int:
    recorder.print_not_reached()
    bundle, summary = _write(recorder, runtime, last_step)
    _print_criteria(recorder, summary)
    recorder.print(_last_line(summary, bundle))
    recorder.print("check it without any of our code:")
    for line in verification_commands(bundle, recorder.key):
        recorder.print(f"  {line}")
    if as_json:
        log.result(json.dumps(summary, indent=2, sort_keys=True))
    _tell_github(summary)
    return int(summary["exit_code"])


def _last_line(summary: Mapping[str, Any], bundle: Path) -> str:
    """The verdict and where it stands; where it is open, also why."""
    line = f"{summary['verdict'].upper()}  {bundle}"
    why = summary["error"] if summary["verdict"] == INCONCLUSIVE else None
    if summary.get("gate", {}).get("rehearsal"):
        line += "  REHEARSAL: counts for nothing"
    return f"{line}  ({why})" if why else line


def _write(recorder: Recorder, runtime: Runtime, last_step: str) -> tuple[Path, dict[str, Any]]:
    """The last step. Whatever fails in it, such as a contradiction, leaves nothing that verifies.

    Raises:
        ArtifactError: with what the step failed on.
    """
    try:
        with recorder.step(last_step) as step:
            logs = {item.name: runtime.log_path(item.name) for item in runtime.services}
            logs |= runtime.more_logs()
            step.detail = f"{recorder.write_logs(logs)} logs, report, manifest, signature"
            return recorder.seal(step)
    except StopRun as problem:
        raise ArtifactError(f"no evidence is written: {problem.__cause__}") from problem


def _tell_github(summary: Mapping[str, Any]) -> None:
    """The verdict is sealed: trouble with the step summary is said, and changes nothing."""
    from evidence.github import write_step_summary

    try:
        write_step_summary(summary)
    except ScriptError as problem:
        log.warn(str(problem))


def _print_criteria(recorder: Recorder, summary: Mapping[str, Any]) -> None:
    """The criteria that failed; those without a measurement only where nothing else says why."""
    explained = any(step["outcome"] == FAILED for step in summary["steps"])
    for outcome in (FAILED,) if explained else (FAILED, INCONCLUSIVE):
        rows = [row for row in summary["criteria"] if row["outcome"] == outcome]
        for row in rows:
            expected = wanted(row["rule"], row["expected"], row["unit"])
            got = "no measurement" if row["observed"] is None else row["observed"]
            recorder.print(f"      {row['id']}: expected {expected}, got {got}")
        if rows:
            return
