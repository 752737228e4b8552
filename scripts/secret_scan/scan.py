"""A whole scan: files, archives, streams and history in, findings without secrets out.

`scan()` is what other scripts call, on evidence folders and logs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from common.cli import UsageError
from common.streams import buffered
from secret_scan.findings import ScanResult, Tally
from secret_scan.fingerprint import load_key
from secret_scan.history import objects_of, repository_of, unread_history
from secret_scan.jobs import FilesJob, ObjectsJob, SegmentJob, head_kind, is_plain
from secret_scan.judging import Place
from secret_scan.masking import masked
from secret_scan.rules import load_rules
from secret_scan.streams import CHUNK_BYTES
from secret_scan.tree import base_folder, files_of
from secret_scan.unpacking import scan_stream
from secret_scan.workers import Settings, default_workers, run_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from secret_scan.findings import Finding
    from secret_scan.fingerprint import FingerprintKey
    from secret_scan.history import ObjectRef
    from secret_scan.jobs import Job
    from secret_scan.rules import RuleSet
    from secret_scan.tree import FileRef

SEGMENT_BYTES = 8 << 20
_BATCH_BYTES, _BATCH_FILES, _BATCH_OBJECTS = 1 << 20, 200, 400
# Starting processes costs more than so many jobs.
_ALONE_JOBS = 3
COUNTS = (
    *("allowed_inline", "bytes", "excluded", "files"),
    *("git_object_folders", "links", "members", "objects"),
)


def scan(
    paths: Sequence[Path],
    *,
    history: bool = False,
    stdin: BinaryIO | None = None,
    base: Path | None = None,
    rules: RuleSet | None = None,
    engine: str = "auto",
    key: FingerprintKey | None = None,
    inline_allow: bool = True,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ScanResult:
    """Scan files and folders, and what is asked for beside them.

    Args:
        paths: files and folders; links met on the way are not followed.
        history: also every object of the git repositories that the paths stand in.
        stdin: a stream to scan as well.
        base: names in reports are relative to it (default: the current folder, where it holds
            all paths; else the nearest that does).
        rules: what is looked for (default: our own, scripts/rules/secrets.toml).
        engine: auto, re2 or hyperscan; the findings are the same.
        key: of the fingerprints (default: the user's own).
        inline_allow: whether allow comments count.
        workers: processes (default: one for each core).
        progress: called with files or objects, and bytes, so far.

    Raises:
        UsageError: a path that there is not, or no repository where history is asked for.
        ConfigurationError: broken rules, or no key.
    """
    settings = Settings(rules or load_rules(), engine, key or load_key(), inline_allow)
    total = Tally()
    parts: dict[str, dict[int, Tally]] = defaultdict(dict)
    jobs = _jobs(paths, base, total, history=history)
    for job, tally in run_jobs(jobs, settings, workers or default_workers(), _ALONE_JOBS):
        if isinstance(job, SegmentJob):
            parts[job.file.name][job.start] = tally
            total.counts.update(tally.counts)
        else:
            total.add(tally)
        if progress is not None:
            progress(total.counts["files"] + total.counts["objects"], total.counts["bytes"])
    for segments in parts.values():
        _join(segments, total)
    if stdin is not None:
        _scan_stdin(settings, stdin, total)
    return _result(total, settings)


def _jobs(
    paths: Sequence[Path], base: Path | None, total: Tally, *, history: bool
) -> Iterator[Job]:
    repositories = _repositories(paths) if history else []
    if paths:
        yield from _file_jobs(files_of(paths, base or base_folder(paths), total), total)
    for repository in repositories:
        total.unread += unread_history(repository)
        yield from _object_jobs(repository)


def _repositories(paths: Sequence[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        repository = repository_of(path)
        if repository is None:
            raise UsageError(f"--history: expected a git repository at {path}, got none")
        found[repository] = None
    return list(found)


def _file_jobs(files: Iterable[FileRef], total: Tally) -> Iterator[Job]:
    batch: list[FileRef] = []
    size = 0
    for file in files:
        if file.size > 2 * SEGMENT_BYTES and is_plain(kind := head_kind(file)):
            total.counts["files"] += 1
            for start in range(0, file.size, SEGMENT_BYTES):
                end = min(file.size, start + SEGMENT_BYTES)
                yield SegmentJob(file, start, end, is_binary=kind == "binary")
            continue
        batch.append(file)
        size += file.size
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_FILES:
            yield FilesJob(tuple(batch))
            batch, size = [], 0
    if batch:
        yield FilesJob(tuple(batch))


def _object_jobs(repository: Path) -> Iterator[Job]:
    batch: list[ObjectRef] = []
    for ref in objects_of(repository):
        batch.append(ref)
        if len(batch) >= _BATCH_OBJECTS:
            yield ObjectsJob(str(repository), tuple(batch))
            batch = []
    if batch:
        yield ObjectsJob(str(repository), tuple(batch))


def _join(segments: dict[int, Tally], total: Tally) -> None:
    """Give the parts of a large file the line numbers that they have in the whole."""
    lines = 0
    for start in sorted(segments):
        tally = segments[start]
        total.findings += [
            replace(one, line=one.line + lines, end_line=one.end_line + lines)
            for one in tally.findings
        ]
        total.unread += [one for one in tally.unread if one not in total.unread]
        lines += tally.newlines


def _scan_stdin(settings: Settings, stdin: BinaryIO, total: Tally) -> None:
    stream = buffered(iter(lambda: stdin.read(CHUNK_BYTES), b""))
    total.counts["files"] += 1
    scan_stream(settings.scanner(), stream, Place("stdin"), total)


def _result(total: Tally, settings: Settings) -> ScanResult:
    findings = _without_copies(masked(total.findings, settings))
    return ScanResult(
        findings=tuple(sorted(findings, key=_order)),
        unread=tuple(sorted(set(masked(total.unread, settings)))),
        counts={name: Counter(total.counts)[name] for name in COUNTS},
        engine=settings.scanner().engine.name,
        rules_sha256=settings.rules.sha256,
        key_id=settings.key.id,
    )


def _without_copies(findings: Iterable[Finding]) -> list[Finding]:
    """Without those of history that stand in the files as well."""
    found = list(findings)
    now = {one.identity for one in found if one.commit is None}
    return [one for one in found if one.commit is None or one.identity not in now]


def _order(finding: Finding) -> tuple[str, int, int, str, str, str]:
    column, commit = finding.column or 0, finding.commit or ""
    return (finding.path, finding.line, column, finding.rule, commit, finding.fingerprint)
