"""traffic.journal and traffic.pieces: no acknowledged sample is ever lost."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from common.cli import ScriptError
from traffic import journal as journal_module
from traffic.journal import Journal
from traffic.latency import measure
from traffic.pieces import error_counts, read_errors, read_piece, read_pieces
from traffic.record import RECORD_BYTES, PieceHeader, errors_name, samples_name
from traffic.sample import Outcome, Sample

SCRIPTS = Path(journal_module.__file__).resolve().parents[1]
HEADER = PieceHeader(
    run_id="run-1",
    piece=1,
    boot_id="boot",
    boottime_seconds=100.5,
    start_seconds=100.0,
    time_utc="2026-11-20T00:00:00Z",
    profiles=[{"name": "chat"}, {"name": "action"}],
    services={"gateway": {"pid": 1}},
)
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from traffic.journal import Journal
from traffic.record import PieceHeader
from traffic.sample import Sample, Outcome

header = PieceHeader("run-1", 1, "boot", 0.0, 0.0, "", [{"name": "chat"}])
journal = Journal(Path(sys.argv[2]), header, commit_seconds=0.005)
said = 0
for number in range(10_000_000):
    wrong = number % 7 == 0
    outcome = Outcome.WRONG if wrong else Outcome.OK
    journal.add(Sample(0, 0, number, number / 2, outcome=outcome), "wrong" if wrong else None)
    if journal.acknowledged > said:
        said = journal.acknowledged
        print(said, flush=True)
"""


def sample(number: int, **changes: object) -> Sample:
    made = Sample(number % 2, 0, number, number / 2, number / 2 + 0.001, done_seconds=number + 1.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def write(folder: Path, count: int, header: PieceHeader = HEADER) -> Path:
    with Journal(folder, header) as journal:
        for number in range(count):
            journal.add(sample(number))
    assert journal.acknowledged == count
    return folder / samples_name(header.piece)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    first = sample(0, first_token_seconds=0.25, status=200)
    with Journal(tmp_path, HEADER) as journal:
        journal.add(first)
        journal.add(sample(1, outcome=Outcome.TIMEOUT), "no answer within 10 s")
    (piece,) = read_pieces(tmp_path)
    assert piece.header == HEADER
    assert (len(piece), piece.cut_bytes) == (2, 0)
    assert piece.sample(0).first_token_seconds == 0.25
    assert math.isnan(piece.sample(0).first_byte_seconds)
    assert [item.outcome for item in piece.samples()] == [Outcome.OK, Outcome.TIMEOUT]
    assert error_counts([piece]) == {("action", "timeout", 0): 1}
    assert read_errors(tmp_path, 1) == [
        {
            "profile": "action",
            "step": 0,
            "sequence": 1,
            "intended_seconds": 0.5,
            "outcome": "timeout",
            "status": 0,
            "text": "no answer within 10 s",
        }
    ]


def test_a_sample_counts_as_acknowledged_only_after_its_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    journal = Journal(tmp_path, HEADER, commit_seconds=60)
    monkeypatch.setattr(journal_module, "_sync", lambda _handle: seen.append(journal.acknowledged))
    journal.add(sample(0))
    assert journal.acknowledged == 0
    assert journal.commit() == 1
    assert seen == [0]
    journal.close()


def test_a_kill_at_a_random_moment_loses_no_acknowledged_sample(tmp_path: Path) -> None:
    """Buffered writes lost 87 records in 15 kills."""
    moments, acknowledged = random.Random(2), 0  # noqa: S311 - no secret
    for number in range(15):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, "-c", WRITER, str(SCRIPTS), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            writer.stdout.readline()
            time.sleep(moments.uniform(0, 0.1))
            writer.kill()
            lines = writer.stdout.read().split("\n")
        said = int(lines[-2]) if len(lines) > 1 else 1
        piece = read_piece(folder / samples_name(1))
        assert len(piece) >= said
        assert [*piece.sequence] == [*range(len(piece))]
        assert piece.cut_bytes < RECORD_BYTES
        assert len(read_errors(folder, 1)) >= min(said // 7, 10_000)
        acknowledged += said
    assert acknowledged > 15


def test_a_file_cut_at_any_byte_keeps_every_whole_record(tmp_path: Path) -> None:
    path = write(tmp_path, 4)
    data = path.read_bytes()
    begin = len(data) - 4 * RECORD_BYTES
    for size in range(begin, len(data) + 1):
        path.write_bytes(data[:size])
        piece = read_piece(path)
        assert len(piece) == (size - begin) // RECORD_BYTES
        assert piece.cut_bytes == (size - begin) % RECORD_BYTES
    for size in range(begin):
        path.write_bytes(data[:size])
        with pytest.raises(ScriptError, match="expected the header of a journal"):
            read_piece(path)


def test_a_changed_byte_before_whole_records_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, 4)
    data = path.read_bytes()
    for at in range(len(data) - 4 * RECORD_BYTES, len(data) - RECORD_BYTES):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ScriptError, match="is damaged, though whole ones follow"):
            read_piece(path)


def test_records_of_another_piece_do_not_count(tmp_path: Path) -> None:
    """Each CRC includes the header's: a record can't be moved between runs."""
    path = write(tmp_path, 2)
    stranger = path.read_bytes().replace(b'"run-1"', b'"run-2"')
    path.write_bytes(stranger)
    piece = read_piece(path)
    assert (len(piece), piece.cut_bytes) == (0, 2 * RECORD_BYTES)


def test_zeros_after_a_loss_of_power_are_cut(tmp_path: Path) -> None:
    path = write(tmp_path, 2)
    path.write_bytes(path.read_bytes() + bytes(500))
    assert (len(read_piece(path)), read_piece(path).cut_bytes) == (2, 500)


def test_pieces_come_in_order_and_none_may_be_missing(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write(tmp_path, number, replace(HEADER, piece=number))
    assert [len(piece) for piece in read_pieces(tmp_path)] == [1, 2, 3]
    (tmp_path / samples_name(2)).unlink()
    with pytest.raises(ScriptError, match="expected piece 2, got piece 3"):
        read_pieces(tmp_path)


def test_a_piece_of_another_run_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 1, replace(HEADER, piece=2, run_id="run-2"))
    with pytest.raises(ScriptError, match="expected a piece of the run run-1, got one of run-2"):
        read_pieces(tmp_path)


def test_a_piece_is_never_written_twice(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with pytest.raises(ScriptError, match="never written twice"):
        Journal(tmp_path, HEADER)


@pytest.mark.parametrize("at", [0, 1])
def test_a_kill_while_a_piece_is_made_leaves_its_number_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Before either of its two files is there: no piece, so the next one has that number."""
    made: list[str] = []

    def killed(self: Path, target: Path) -> Path:
        if len(made) == at:
            raise KeyboardInterrupt
        made.append(target.name)
        return renamed(self, target)

    renamed = Path.replace
    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Journal(tmp_path, HEADER)
    monkeypatch.undo()
    assert read_pieces(tmp_path) == []
    assert made == [errors_name(1)][:at]
    write(tmp_path, 3)
    assert [len(piece) for piece in read_pieces(tmp_path)] == [3]


def test_texts_of_errors_are_never_written_over(tmp_path: Path) -> None:
    with Journal(tmp_path, HEADER) as journal:
        journal.add(sample(0, outcome=Outcome.ERROR), "refused")
    (tmp_path / samples_name(1)).unlink()
    with pytest.raises(ScriptError, match=r"errors-0001\.jsonl yet, got one"):
        Journal(tmp_path, HEADER)
    assert len(read_errors(tmp_path, 1)) == 1


def test_a_folder_without_pieces_has_none(tmp_path: Path) -> None:
    assert read_pieces(tmp_path) == []


def test_a_full_disk_is_said_and_nothing_counts_as_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    journal = Journal(tmp_path, HEADER, commit_seconds=60)
    monkeypatch.setattr(journal_module, "_write_all", full)
    journal.add(sample(0))
    with pytest.raises(ScriptError, match="no space left on device"):
        journal.commit()
    monkeypatch.undo()
    with pytest.raises(ScriptError, match="no space left on device"):
        journal.add(sample(1))
    with pytest.raises(ScriptError, match="no space left on device"):
        journal.close()
    assert journal.acknowledged == len(read_piece(tmp_path / samples_name(1))) == 0


def test_nothing_is_written_after_a_torn_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is queued already when the disk is full would stand where it can't be read."""
    path = tmp_path / samples_name(1)

    def half(handle: int, data: bytes) -> None:
        os.write(handle, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    journal = Journal(tmp_path, HEADER, commit_seconds=60)
    monkeypatch.setattr(journal_module, "_write_all", half)
    journal.add(sample(0))
    with pytest.raises(ScriptError):
        journal.commit()
    monkeypatch.undo()
    journal._queue.put((sample(1), None))
    with pytest.raises(ScriptError):
        journal.close()
    assert read_piece(path).cut_bytes == RECORD_BYTES // 2


@pytest.mark.parametrize(
    ("status", "written"), [(599, 599), (65_535, 65_535), (70_000, 65_535), (-1, 0)]
)
def test_an_impossible_status_ends_nothing(tmp_path: Path, status: int, written: int) -> None:
    with Journal(tmp_path, HEADER) as journal:
        journal.add(sample(0, status=status, outcome=Outcome.WRONG), "expected status 200")
    assert journal.acknowledged == 1
    assert read_piece(tmp_path / samples_name(1)).sample(0).status == written


def test_whatever_can_not_be_written_is_said_by_all(tmp_path: Path) -> None:
    """Only a full disk was: the rest ended the thread, and nobody heard of it."""
    journal = Journal(tmp_path, HEADER, commit_seconds=60)
    journal.add(sample(0))
    journal.add(sample(1, sequence=1 << 40))
    for ask in (journal.commit, journal.commit, lambda: journal.add(sample(2)), journal.close):
        with pytest.raises(ScriptError, match="can't write the journal of samples: error: "):
            ask()
    assert journal.acknowledged == len(read_piece(tmp_path / samples_name(1))) == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_is_gone_is_said_by_all(tmp_path: Path) -> None:
    class Gone:
        """What ends the thread where nobody thought of it; SystemExit says nothing."""

        def __iter__(self) -> None:
            raise SystemExit

    journal = Journal(tmp_path, HEADER, commit_seconds=0)
    journal._queue.put(Gone())  # type: ignore[arg-type]
    journal._thread.join()
    for ask in (journal.commit, lambda: journal.add(sample(2)), journal.close):
        with pytest.raises(ScriptError, match="expected its thread at work, got none"):
            ask()


def test_a_closed_journal_takes_nothing_more(tmp_path: Path) -> None:
    with Journal(tmp_path, HEADER) as journal:
        journal.add(sample(0))
    journal.close()
    for ask in (lambda: journal.add(sample(1)), journal.commit):
        with pytest.raises(ScriptError, match="begin a new piece"):
            ask()


def test_error_texts_are_bounded_their_counts_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "ERROR_TEXTS", 3)
    with Journal(tmp_path, HEADER) as journal:
        for number in range(10):
            journal.add(sample(number, profile=0, outcome=Outcome.ERROR), "x" * 10_000)
    assert [len(line["text"]) for line in read_errors(tmp_path, 1)] == [300] * 3
    assert error_counts(read_pieces(tmp_path)) == {("chat", "error", 0): 10}


def test_a_torn_line_of_error_texts_is_left_out(tmp_path: Path) -> None:
    with Journal(tmp_path, HEADER) as journal:
        journal.add(sample(0, outcome=Outcome.ERROR), "first")
        journal.add(sample(1, outcome=Outcome.ERROR), "second")
    path = tmp_path / errors_name(1)
    path.write_bytes(path.read_bytes()[:-5])
    assert [line["text"] for line in read_errors(tmp_path, 1)] == ["first"]


def test_48_hours_of_samples_stay_below_50_megabytes(tmp_path: Path) -> None:
    """A tenth of them below a tenth of it, so that the test stays quick."""
    write(tmp_path, 30_240)
    tracemalloc.start()
    (piece,) = read_pieces(tmp_path)
    log = measure(piece.samples(), ["chat", "action"])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert log.overall().count == 30_240
    assert peak_bytes < 5_000_000
