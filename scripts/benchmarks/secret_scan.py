"""The secret scan: megabytes a second on a tree, beside peers in turn; memory on one long line."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.comparison import Benchmark
from common.cli import ConfigurationError, Exit, ScriptError
from common.folders import ROOT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

GOAL_MEGABYTES, GOAL_MEMORY_MEGABYTES = 50.0, 200.0
LONG_LINE_BYTES = 500_000_000
_SCRIPT = ROOT / "scripts/scan_secrets.py"
_MEGABYTE = 1_000_000
# Findings are no failure of a scan: gitleaks says 1 then, kingfisher 200.
_FINDINGS = {int(Exit.PASSED), int(Exit.FAILED), int(Exit.INCONCLUSIVE), 200}
_PEERS = {
    "gitleaks": ("gitleaks", "dir", "--no-banner", "--redact"),
    "kingfisher": (
        *("kingfisher", "scan", "--no-validate", "--git-history", "none", "--no-update-check"),
        *("--max-file-size", "0", "--jobs", "2"),
    ),
}


def measure_secret_scan(options: argparse.Namespace) -> list[Benchmark]:
    """Each engine on Python's own library, two workers; floor: each peer on PATH, in turn."""
    tree = Path(sysconfig.get_path("stdlib"))
    engines = ["re2", *(["hyperscan"] if importlib.util.find_spec("hyperscan") else [])]
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "tree"
        shutil.copytree(tree, copy, symlinks=True, ignore=_not_ours)
        found = [one for engine in engines for one in _speeds(copy, engine, options)]
        found.append(_memory(Path(name), options))
    return found


def _not_ours(_folder: str, names: list[str]) -> set[str]:
    # What is installed beside the library differs from machine to machine.
    return {name for name in names if name in {"site-packages", "__pycache__"}}


def _speeds(tree: Path, engine: str, options: argparse.Namespace) -> list[Benchmark]:
    size = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file())
    ours = _ours(tree, engine)
    rounds = 1 if options.quick else min(options.rounds, 3)
    peers = {name: (*command, str(tree)) for name, command in _PEERS.items() if shutil.which(name)}
    _seconds(ours)  # hyperscan compiles its database once, and the files get into memory
    rows: dict[str, list[tuple[float, float | None]]] = {name: [] for name in ["", *peers]}
    for _ in range(rounds):
        taken = _seconds(ours)
        rows[""].append((taken / (size / _MEGABYTE), None))
        for name, command in peers.items():
            rows[name].append((taken, _seconds(command)))
    what = f"{size / _MEGABYTE:.0f} MB of Python's library, {engine}, two workers"
    found = [
        Benchmark(
            f"secret-scan {engine}",
            f"{what}: wall seconds for a megabyte",
            "seconds/megabyte",
            rows[""],
            goal_value=1 / GOAL_MEGABYTES,
        )
    ]
    for name in peers:
        # Only hyperscan promises to keep up with the fastest peer.
        goal = 1.0 if engine == "hyperscan" else None
        text = f"{what}; floor: {name} in the same run"
        found.append(
            Benchmark(f"secret-scan {engine} {name}", text, "seconds", rows[name], goal_ratio=goal)
        )
    return found


def _ours(path: Path, engine: str) -> tuple[str, ...]:
    command = (sys.executable, str(_SCRIPT), str(path), "--engine", engine, "--workers", "2")
    return (*command, "--format", "json")


def _seconds(command: Sequence[str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode not in _FINDINGS:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise ScriptError(f"{Path(command[0]).name} exited {done.returncode}: {last}")
    return time.perf_counter() - begun


def _memory(folder: Path, options: argparse.Namespace) -> Benchmark:
    """The peak of all processes of a scan of one line, as /proc tells it, summed up."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise ConfigurationError("no /proc here, so the memory of processes can't be measured")
    size = LONG_LINE_BYTES // (10 if options.quick else 1)
    path = folder / "line.log"
    block = b"".join(os.urandom(500).hex().encode() + b' {"key": "value"} ' for _ in range(1000))
    with path.open("wb") as stream:
        for _ in range(size // len(block) + 1):
            stream.write(block)
    peak = _peak_bytes(_ours(path, "re2"))
    what = f"peak memory (PSS) of all processes on {size / _MEGABYTE:.0f} MB without a line break"
    pairs: list[tuple[float, float | None]] = [(peak / _MEGABYTE, None)]
    goal = GOAL_MEMORY_MEGABYTES
    return Benchmark("secret-scan memory", what, "megabytes", pairs, goal_value=goal)


def _peak_bytes(command: Sequence[str]) -> int:
    import psutil

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, _pss(psutil.Process(process.pid), psutil.Error))
            time.sleep(0.1)
        if process.returncode not in _FINDINGS:
            raise ScriptError(f"the scan exited {process.returncode}")
    return peak


def _pss(parent: object, gone: type[Exception]) -> int:
    total, family = 0, [parent, *_children(parent, gone)]
    for one in family:
        try:
            total += int(one.memory_full_info().pss)  # type: ignore[attr-defined]  # psutil's own
        except gone:
            continue
    return total


def _children(parent: object, gone: type[Exception]) -> list[object]:
    find: Callable[..., list[object]] = parent.children  # type: ignore[attr-defined]  # psutil's own
    try:
        return find(recursive=True)
    except gone:
        return []
