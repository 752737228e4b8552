"""Run the scripts of a gate in one run folder, judge, seal: with or without the ledger."""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import Exit, ScriptError, nothing_started

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from evidence.keys import SigningKey
    from evidence.recorder import Recorder, Step
    from evidence.run_folder import RunFolder
    from gating.gate_file import GateFile, Measuring
    from stack.model import Stack
    from stack.runtime import Runtime

SCHEMA = "gate_summary/1"
LAST_STEP = "sign the evidence"


@dataclass(frozen=True)
class Planned:
    """A script with the arguments that it measures with."""

    module: Measuring
    options: argparse.Namespace


@dataclass
class GateRun:
    """One run of a gate.

    Args:
        gate: its file.
        planned: the scripts, parsed.
        rehearsal: shortened or accelerated: real, marked, and not eligible (G7).
        options: the common options (`add_run_options`).
        command: the command line, as evidence.
        reasons: more reasons why it can't count.
        typed: the same command with whole paths, to be shown to who gave it.
    """

    gate: GateFile
    planned: Sequence[Planned]
    rehearsal: bool
    options: argparse.Namespace
    command: list[str]
    reasons: Sequence[str] = ()
    typed: Sequence[str] = ()
    recorder: Recorder | None = None

    def open(self, stack: Stack, runtime: Runtime, key: SigningKey) -> Recorder:
        """The run folder, with the files named as G8 wants them."""
        from evidence.recorder import open_folder

        folder = open_folder(self.options.output_dir, [*runtime.secrets.values()])
        try:
            self.recorder = self._recorder(stack, runtime, key, folder)
        except BaseException:  # Ctrl-C above all: nothing was started, nothing is left
            folder.discard()
            raise
        return self.recorder

    def _recorder(
        self, stack: Stack, runtime: Runtime, key: SigningKey, folder: RunFolder
    ) -> Recorder:
        from evidence.envelope import make_envelope
        from evidence.recorder import Recorder

        gate = {
            "name": self.gate.name,
            "title": self.gate.title,
            "requires": self.gate.requires,
            "rehearsal": self.rehearsal,
        }
        return Recorder(
            gate=self.gate.name,
            summary_name=f"{self.gate.name}-summary-{folder.run_id}.json",
            manifest_name=f"{self.gate.name}-manifest-{folder.run_id}.sha256",
            envelope=make_envelope(SCHEMA, stack, runtime.name, self.command),
            steps=self._steps(),
            key=key,
            folder=folder,
            to_stderr=self.options.json,
            rehearsal=self.rehearsal,
            parts=[part.module.EVIDENCE for part in self.planned],
            reservations=self._reservations(stack),
            facts={"gate": gate, "measured": {}},
            typed=self.typed,
        )

    def _steps(self) -> list[Step]:
        from evidence.recorder import Step

        names = [name for part in self.planned for name in part.module.STEPS]
        return [
            Step(number, name, Exit.FAILED, system=name != LAST_STEP)
            for number, name in enumerate([*names, LAST_STEP], start=1)
        ]

    def _reservations(self, stack: Stack) -> list[str]:
        found = [
            reason
            for part in self.planned
            for reason in part.module.reservations(part.options, stack)
        ]
        return [*(["a rehearsal"] if self.rehearsal else []), *found, *self.reasons]

    def work(self, runtime: Runtime, recorder: Recorder) -> None:
        """All measuring scripts, in order.

        Raises:
            ConfigurationError: figures that are not what their schema says.
        """
        from common.schema import check_value

        try:
            for part in self.planned:
                name = part.module.EVIDENCE
                try:
                    part.module.measure(part.options, runtime, recorder)
                finally:
                    if name in recorder.facts["measured"]:
                        check_value(recorder.facts["measured"][name], name, f"{name} figures")
        finally:
            self._look_again(runtime.stack, recorder)

    def _look_again(self, stack: Stack, recorder: Recorder) -> None:
        """The services ran from the working tree: it has to be what it was at the start."""
        from evidence.envelope import KIT_FOLDER, look_at_commit

        folders = {"commit": stack.here, "kit_commit": KIT_FOLDER}
        changed = [
            f"the {name.replace('_', ' ')} or its working tree changed during the run"
            for name, folder in folders.items()
            if recorder.envelope[name]["sha"] and look_at_commit(folder) != recorder.envelope[name]
        ]
        recorder.reservations = [*recorder.reservations, *changed]


@contextlib.contextmanager
def no_fault_of_the_system(recorder: Recorder, step: Step) -> Iterator[None]:
    """Trouble in here says nothing about the system: the step is inconclusive, the run ends.

    A failure that was noted before stays one.

    Raises:
        StopRun: a port in use, no engine, a package or a variable that is missing.
        PrepareError: a command of the system's own failed, which is its own fault.
    """
    from evidence.criteria import FAILED, INCONCLUSIVE
    from evidence.recorder import StopRun
    from evidence.run_folder import ArtifactError
    from stack.programs import PrepareError

    try:
        yield
    except (ArtifactError, PrepareError):
        raise
    except ScriptError as problem:
        if step.outcome != FAILED:
            step.outcome, step.error = INCONCLUSIVE, str(problem)
            recorder.cut_short = True
        raise StopRun from problem


def run_standalone(
    gate_name: str, module: Measuring, argv: Sequence[str] | None, script: str
) -> int:
    """`main` of a measuring script: the gate's criteria, but outside of the ledger.

    Args:
        gate_name: whose criteria judge it.
        module: the script itself.
        argv: its command line.
        script: its file.

    Returns:
        The exit code: 0 passed, 1 failed, 2 inconclusive.
    """
    options = module.parse(argv)  # first: `--help` needs no package
    with nothing_started():
        from evidence.keys import load_signer
        from evidence.session import remove_leftovers, run_recorded
        from stack.load import load_stack
        from stack.runtime import open_runtime

        stack = load_stack(options.stack)
        run = _standalone(gate_name, Planned(module, options), stack, argv, script)
        key = load_signer(options.key, options.public_key)
        remove_leftovers(options.output_dir)
        runtime = open_runtime(stack, options.runtime)
    return run_recorded(
        runtime,
        lambda: run.open(runtime.stack, runtime, key),
        lambda recorder: run.work(runtime, recorder),
        last_step=LAST_STEP,
        not_written=Exit.INCONCLUSIVE,
        as_json=options.json,
    )


def _standalone(
    gate_name: str, planned: Planned, stack: Stack, argv: Sequence[str] | None, script: str
) -> GateRun:
    from evidence.envelope import command_line
    from gating.gate_file import GateFile, load_gate

    whole = load_gate(gate_name)
    return GateRun(
        GateFile(whole.name, whole.title, whole.requires, ()),
        [planned],
        rehearsal=bool(planned.module.reservations(planned.options, stack)),
        options=planned.options,
        command=command_line(None if argv is None else [*argv], script),
        reasons=["run outside of the ledger: `run_gate.py` records it"],
        typed=typed_command(argv, script),
    )


def typed_command(arguments: Sequence[str] | None, script: str) -> list[str]:
    """The command as it was given, ready to paste; `arguments` None are those of the process."""
    from gating.commands import script_command

    given = sys.argv[1:] if arguments is None else arguments
    return [*shlex.split(script_command(Path(script).stem)), *given]
