"""Run jobs in several processes, a bounded number at a time; small scans stay in this one."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import ScriptError
from secret_scan.engine import make_engine
from secret_scan.text_scan import TextScanner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from secret_scan.findings import Tally
    from secret_scan.fingerprint import FingerprintKey
    from secret_scan.jobs import Job
    from secret_scan.rules import RuleSet

_WAITING_PER_WORKER = 4


@dataclass(frozen=True)
class Settings:
    """What every worker needs to know."""

    rules: RuleSet
    engine: str
    key: FingerprintKey
    inline_allow: bool

    def scanner(self) -> TextScanner:
        """A scanner of these settings, made once in a process."""
        return _scanner_of(self)


@functools.lru_cache(maxsize=2)
def _scanner_of(settings: Settings) -> TextScanner:
    engine = make_engine(settings.rules, settings.engine)
    return TextScanner(engine, settings.key, inline_allow=settings.inline_allow)


def default_workers() -> int:
    """One for each core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def run_jobs(
    jobs: Iterable[Job], settings: Settings, workers: int, alone: int
) -> Iterator[tuple[Job, Tally]]:
    """Run jobs; results come in any order.

    Args:
        jobs: made while others run; never more than a few wait.
        settings: for every worker.
        workers: processes.
        alone: with so few jobs, none is started.

    Raises:
        ScriptError: a worker was killed.
    """
    stream = iter(jobs)
    first = list(itertools.islice(stream, alone + 1))
    if workers == 1 or len(first) <= alone:
        scanner = settings.scanner() if first else None
        for job in itertools.chain(first, stream):
            if scanner is not None:
                yield job, job.run(scanner)
        return
    yield from _in_processes(itertools.chain(first, stream), settings, workers)


def _in_processes(
    jobs: Iterator[Job], settings: Settings, workers: int
) -> Iterator[tuple[Job, Tally]]:
    import multiprocessing
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool

    method = _start_method()
    if method == "fork":  # made here, all workers have it
        settings.scanner().engine.prepare()
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(workers, context, _start_worker, (settings,))
    waiting: dict[Future[Tally], Job] = {}
    try:
        for job in jobs:
            waiting[pool.submit(_run, job)] = job
            if len(waiting) >= workers * _WAITING_PER_WORKER:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                yield from ((waiting.pop(one), one.result()) for one in done)
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            yield from ((waiting.pop(one), one.result()) for one in done)
    except BrokenProcessPool as problem:
        raise ScriptError(
            "a worker of the scan was killed, so not all was read: free memory, or use --workers 1"
        ) from problem
    finally:
        pool.shutdown(cancel_futures=True)


def _start_method() -> str:
    # A copy of this process is ready at once, but other threads may hold locks that nobody
    # opens in it; and the libraries of macOS do not bear it.
    return "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"


_scanner: TextScanner | None = None


def _start_worker(settings: Settings) -> None:
    global _scanner  # noqa: PLW0603 - one scanner a process, made once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    _scanner = settings.scanner()


def _run(job: Job) -> Tally:
    if _scanner is None:
        raise ScriptError("a worker has no scanner: this is a bug")
    return job.run(_scanner)
