"""A run folder: built as `.<id>.partial`, renamed once when complete (design.md, "Evidence")."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from datetime import UTC
from typing import TYPE_CHECKING

from common.schema import check_value
from evidence.files import ArtifactError, safe_name, shown
from evidence.partials import (
    OWNER,
    owner_record,
    partial_path,
    sealing_path,
    staging_path,
    sweep_partials,
)
from evidence.redact import Redactor
from evidence.tail import tail_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path
    from typing import Self

__all__ = ["ArtifactError", "RunFolder", "sweep_partials"]
_TRIES = 1000


class RunFolder:
    """One run's evidence in the making.

    Use `create`; then `write_*`; then `seal.seal`, or `discard`.

    Args:
        output: the folder that run folders stand in.
        run_id: YYYYMMDD-HHMMSS[-n] in UTC.
        redactor: every text goes through it.
    """

    def __init__(self, output: Path, run_id: str, redactor: Redactor) -> None:
        """Name a folder that `create` has made."""
        self.output = output
        self.run_id = run_id
        self.redactor = redactor
        self.partial = partial_path(output, run_id)
        self.evidence = self.partial / "evidence"
        self._open_files: list[Callable[[], None]] = []

    @classmethod
    def create(cls, output_dir: Path, now: datetime, redactor: Redactor | None = None) -> Self:
        """Claim a run id that no other process has, and make its folder.

        Args:
            output_dir: made where it is missing.
            now: an aware time; the id is in UTC.
            redactor: knows the run's secrets; one without any by default.

        Raises:
            ArtifactError: the folder can't be written.
        """
        stamp = now.astimezone(UTC).strftime("%Y%m%d-%H%M%S")
        output = output_dir.absolute()
        try:
            output.mkdir(parents=True, exist_ok=True)
            staging = staging_path(output, secrets.token_hex(4))
            (staging / "evidence").mkdir(parents=True)
            try:
                (staging / OWNER).write_text(owner_record(), encoding="utf-8")
                run_id = _claim(output, stamp, staging)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
        except OSError as problem:
            raise _unwritable(output, problem) from problem
        return cls(output, run_id, redactor or Redactor())

    @property
    def final(self) -> Path:
        """Where the folder is once it is sealed."""
        return self.output / self.run_id

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write bytes that hold no text of others: they are not redacted.

        Raises:
            ArtifactError: a name outside [A-Za-z0-9._/-], or the file can't be written.
        """
        if not safe_name(name):
            raise ArtifactError(f"expected a plain name below evidence/, got {shown(name)}")
        path = self.evidence / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as problem:
            raise _unwritable(path, problem) from problem
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write text, redacted, as UTF-8 with the line ends it has."""
        clean = self.redactor.text(text)
        return self.write_bytes(name, clean.encode("utf-8", "backslashreplace"))

    def write_json(self, name: str, value: object, schema: str | None = None) -> Path:
        """Write a JSON value, redacted: sorted keys, two spaces, a final newline.

        Args:
            name: below evidence/.
            value: before redaction.
            schema: what it has to fit after it: schemas/<schema>.schema.json.

        Raises:
            ArtifactError: NaN or an infinity in it, or it can't be written.
            ConfigurationError: it does not fit the schema.
        """
        clean = self.redactor.value(value)
        if schema is not None:
            check_value(clean, schema, name)
        try:
            text = json.dumps(clean, indent=2, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as problem:
            raise ArtifactError(f"{name}: expected a JSON value: {problem}") from problem
        return self.write_bytes(name, text.encode() + b"\n")

    def copy_log(self, name: str, path: Path, lines: int = 100) -> Path:
        """Write the last `lines` lines of a log that stands elsewhere, redacted (P7)."""
        return self.write_bytes(name, tail_lines(path, lines, self.redactor).encode())

    def closes(self, close: Callable[[], None]) -> None:
        """Call `close` before the folder is removed: Windows keeps files that are open."""
        self._open_files.append(close)

    def discard(self) -> None:
        """Remove all of it; nothing is left that could verify."""
        for close in self._open_files:
            with contextlib.suppress(ArtifactError):
                close()
        shutil.rmtree(self.partial, ignore_errors=True)
        sealing_path(self.output, self.run_id).unlink(missing_ok=True)


def _claim(output: Path, stamp: str, staging: Path) -> str:
    # The rename is the lock: it fails on a folder with something in it, and
    # every partial has its owner record in it from its first moment on.
    for number in range(1, _TRIES):
        run_id = stamp if number == 1 else f"{stamp}-{number}"
        target = partial_path(output, run_id)
        taken = (target, output / run_id, sealing_path(output, run_id))
        if any(os.path.lexists(path) for path in taken):
            continue
        try:
            staging.rename(target)
        except OSError:
            if not os.path.lexists(target):
                raise
            continue
        # Its last holder may have sealed it between the look and the rename.
        if not os.path.lexists(output / run_id):
            return run_id
        target.rename(staging)
    raise ArtifactError(f"{output}: expected a free run id, got {_TRIES} taken ones for {stamp}")


def _unwritable(path: Path, problem: OSError) -> ArtifactError:
    reason = (problem.strerror or str(problem)).lower()
    return ArtifactError(f"can't write {path}: {reason}: give a folder with space and rights")
