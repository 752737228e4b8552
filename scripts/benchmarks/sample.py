"""Sample bundles of a given shape, to measure sealing and verifying against sha256sum."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError
from common.folders import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGE_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 22
_SCRIPTS = ROOT / "scripts"


@dataclass(frozen=True)
class Shape:
    """How many files of which size."""

    files: int
    bytes_each: int

    @property
    def is_large(self) -> bool:
        """Whether one round takes seconds."""
        return self.files * self.bytes_each >= _LARGE_BYTES

    def scaled(self, factor: float) -> Shape:
        """The same with fewer files, or fewer bytes where it is one file."""
        if self.files == 1:
            return replace(self, bytes_each=int(self.bytes_each * factor))
        return replace(self, files=int(self.files * factor))


SHAPES = {"seal-files": Shape(10_000, 4096), "seal-bytes": Shape(1, 4 << 30)}
Pairs = list[tuple[float, float | None]]


def measure_bundle(shape: Shape, rounds: int, seconds: Callable[..., float]) -> tuple[Pairs, Pairs]:
    """Seal and verify, in turn with sha256sum, each as a whole process.

    Args:
        shape: of the evidence.
        rounds: counted rounds, after one that is not.
        seconds: runs a command and gives its wall seconds.

    Returns:
        Pairs (ours, sha256sum) for sealing and for verifying.

    Raises:
        ConfigurationError: there is no sha256sum to compare with.
    """
    import shutil
    import tempfile

    if shutil.which("sha256sum") is None:
        raise ConfigurationError("no sha256sum to compare with: install GNU coreutils")
    sealing: Pairs = []
    verifying: Pairs = []
    environment = {**os.environ, "PYTHONPATH": str(_SCRIPTS)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        make_files(data, shape)
        key, public = make_key(folder)
        seal = [sys.executable, "-c", "from benchmarks.sample import seal_sample as s; s()"]
        check = [sys.executable, str(_SCRIPTS / "verify_evidence.py"), "--key", str(public)]
        for _ in range(rounds + 1):
            bare = seconds(["sh", "-c", "find . -type f -exec sha256sum {} + >../sums"], cwd=data)
            ours = seconds([*seal, str(folder), str(data), str(key)], env=environment)
            (bundle,) = (folder / "out").iterdir()
            sealed = bundle / "evidence" / "data"
            sums = ["sha256sum", "--check", "--quiet", str(folder / "sums")]
            bare_check = seconds(sums, cwd=sealed)
            ours_check = seconds([*check, str(bundle)])
            sealed.rename(data)
            shutil.rmtree(bundle)
            sealing.append((ours, bare))
            verifying.append((ours_check, bare_check))
    return sealing[1:], verifying[1:]


def make_files(folder: Path, shape: Shape) -> None:
    """Files of random bytes, 1,000 to a folder, written back to the disk."""
    for number in range(shape.files):
        path = folder / f"{number // 1000:03}" / f"{number:06}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, shape.bytes_each, _BLOCK_BYTES):
                file.write(os.urandom(min(_BLOCK_BYTES, shape.bytes_each - start)))
    if hasattr(os, "sync"):
        os.sync()


def make_key(folder: Path) -> tuple[Path, Path]:
    """A key pair for the samples, made by the same command that users have."""
    import subprocess

    script = str(_SCRIPTS / "sign_transcript.py")
    name = folder / "sample-key"
    subprocess.run(
        [sys.executable, script, "keygen", "--output", str(name)], check=True, capture_output=True
    )
    return name.with_suffix(".pem"), name.with_suffix(".pub")


def seal_sample() -> None:
    """Seal the files named on the command line: output folder, data folder, private key."""
    from evidence.keys import load_signer
    from evidence.run_folder import RunFolder
    from evidence.seal import seal
    from evidence.trace import Trace

    folder, data, key_path = sys.argv[1:]
    key = load_signer(key_path)
    run = RunFolder.create(Path(folder) / "out", datetime.now(UTC))
    Path(data).rename(run.evidence / "data")
    with Trace(run) as trace:
        trace.add("verdict", verdict="inconclusive", exit_code=2)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    summary: dict[str, Any] = {
        "schema": "run_summary/1",
        "run_id": run.run_id,
        "started_utc": now,
        "ended_utc": now,
        "verdict": "inconclusive",
        "exit_code": 2,
        "interrupted": False,
        "commit": {"sha": None, "dirty": None},
        "eligible": {"value": False, "reasons": ["a sample for benchmarks"]},
        "criteria": [],
        "trace": {"head": trace.head, "count": trace.count},
        "key": {"keyid": key.keyid, "kind": key.kind},
    }
    run.write_json("run_summary.json", summary)
    seal(run, summary=summary, summary_name="run_summary.json", key=key)
