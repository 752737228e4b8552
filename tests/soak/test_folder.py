"""The folder of a soak: what a crash leaves, and who may go on with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.cli import ConfigurationError, ScriptError
from soak.clock import Moment
from soak.folder import ENDED, TYPED, SoakFolder, remove_ended, resumable, soaks
from soak.going_on import waiting
from soak.header import Header
from soak.spans import Piece

if TYPE_CHECKING:
    from pathlib import Path

HEADER = Header(
    run_id="20261121-120000",
    stack="fake",
    stack_sha256="aa",
    contract_sha256="cc",
    commit_sha="1234",
    commit_dirty=False,
    runtime="process",
    seconds=100.0,
    speed=1.0,
    engine="aiohttp",
)
START = Moment("boot", 1000.0, 5000.0)
PIECE = Piece(1, 0.0, 30.0, "boot", {"front": "1@a"}, {"front": "1@a"})


def made(output: Path) -> SoakFolder:
    return SoakFolder.create(output, HEADER, START)


def interrupted(output: Path) -> Path:
    """A soak whose harness is gone after 30 seconds."""
    folder = made(output)
    folder.write_piece(PIECE)
    folder.close()
    return folder.path


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    interrupted(tmp_path)
    folder = SoakFolder.resume(tmp_path, HEADER.run_id, replace(HEADER, run_id="another"))
    assert (folder.header, folder.start) == (HEADER, START)
    assert folder.pieces() == [PIECE]
    assert folder.remaining_seconds() == 70
    folder.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stack": "other"}, "--stack: this soak was begun with fake, you asked for other"),
        ({"stack_sha256": "bb"}, "stack file .SHA-256. of this soak was aa, now bb"),
        ({"contract_sha256": "dd"}, "contract .SHA-256. of this soak was cc, now dd"),
        ({"commit_sha": "5678"}, "commit of this soak was 1234, now 5678"),
        ({"commit_sha": None}, "commit of this soak was 1234, now not known"),
        ({"commit_dirty": True}, "working tree of this soak was without changes, now with changes"),
        ({"runtime": "compose"}, "--runtime: this soak was begun with process, you asked for comp"),
        ({"seconds": 7200.0}, "--duration: this soak was begun with 100s, you asked for 2h:"),
        ({"speed": 2.0}, "--speed: this soak was begun with 1, you asked for 2:"),
        ({"engine": "locust"}, "--engine: this soak was begun with aiohttp, you asked for locust"),
    ],
)
def test_another_soak_is_not_gone_on_with(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    interrupted(tmp_path)
    with pytest.raises(ConfigurationError, match=said):
        SoakFolder.resume(tmp_path, HEADER.run_id, replace(HEADER, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["20261121-130000", "..", "../x", "", "a/b"])
def test_a_soak_that_is_not_there_is_refused_with_what_is(tmp_path: Path, name: str) -> None:
    interrupted(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"there: {HEADER.run_id}"):
        SoakFolder.resume(tmp_path, name, HEADER)


def test_a_soak_that_runs_is_not_resumed(tmp_path: Path) -> None:
    folder = made(tmp_path)
    with pytest.raises(ConfigurationError, match="in use by another process"):
        SoakFolder.resume(tmp_path, HEADER.run_id, HEADER)
    folder.close()


def test_a_broken_piece_is_refused_in_one_line(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    (path / "pieces" / "piece-001.json").write_text('{"number": 1}')
    with pytest.raises(ScriptError, match="no file of a soak"):
        SoakFolder.resume(tmp_path, HEADER.run_id, HEADER)


def test_a_soak_that_failed_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.write_piece(replace(PIECE, ended="stopped"))
    folder.close()
    with pytest.raises(ConfigurationError, match="stopped because something failed"):
        SoakFolder.resume(tmp_path, HEADER.run_id, HEADER)


def test_a_killed_piece_ends_with_its_last_sample(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.write_piece(PIECE)
    folder.settle({1: 33.5})
    assert folder.pieces()[0].end_seconds == 33.5
    folder.settle({1: 12.0})
    assert folder.pieces()[0].end_seconds == 33.5
    folder.close()


def test_a_piece_that_ended_keeps_its_end(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.write_piece(replace(PIECE, ended="interrupted"))
    folder.settle({1: 33.5})
    assert folder.pieces()[0].end_seconds == 30
    folder.close()


def test_a_half_written_file_is_no_file(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.write_piece(PIECE)
    (folder.path / "pieces" / "piece-001.json.partial").write_text("{")
    (folder.path / "minutes" / "minute-00001.json.partial").write_text("{")
    assert folder.pieces() == [PIECE]
    assert [name for name, _ in folder.files()] == ["pieces/piece-001.json", "soak.json"]
    folder.close()


def test_a_minute_that_breaks_its_schema_is_not_written(tmp_path: Path) -> None:
    folder = made(tmp_path)
    with pytest.raises(ConfigurationError, match="minute 1"):
        folder.write_minute(1, {"minute": 1})
    assert folder.minutes == []
    folder.close()


def test_a_soak_that_is_over_is_removed_once_its_evidence_is_sealed(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.mark_ended("20261121-130000")
    folder.close()
    remove_ended(tmp_path)
    assert (folder.path / ENDED).is_file()  # no bundle yet
    (tmp_path / "20261121-130000").mkdir()
    remove_ended(tmp_path)
    assert not soaks(tmp_path).exists()


def test_a_soak_that_is_over_is_not_resumed(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.mark_ended("20261121-130000")
    folder.close()
    assert resumable(tmp_path) == []


def test_the_whole_command_is_no_evidence(tmp_path: Path) -> None:
    """It has paths of this machine."""
    folder = SoakFolder.create(tmp_path, HEADER, START, ["python", "/home/somebody/run_soak.py"])
    assert (folder.path / TYPED).is_file()
    assert [name for name, _ in folder.files()] == ["soak.json"]
    folder.close()


def test_only_a_soak_that_can_be_gone_on_with_waits(tmp_path: Path) -> None:
    typed = ["python", "scripts/run_gate.py", "gate2"]
    folder = SoakFolder.create(tmp_path, HEADER, START, typed)
    assert waiting(tmp_path) == []  # it runs
    folder.close()
    command = f"python scripts/run_gate.py gate2 -- --resume {HEADER.run_id}"
    ((run_id, said, prospect),) = waiting(tmp_path)
    assert (run_id, said) == (HEADER.run_id, command)
    assert "can" in prospect
    folder.write_piece(replace(PIECE, ended="stopped"))
    assert waiting(tmp_path) == []


def test_a_soak_that_observed_nothing_is_discarded(tmp_path: Path) -> None:
    made(tmp_path).discard()
    assert not soaks(tmp_path).exists()


def test_an_interrupted_soak_is_kept(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    remove_ended(tmp_path)
    assert path.is_dir()


def test_a_later_boot_is_placed_by_the_wall_clock() -> None:
    assert START.seconds_until(Moment("boot", 1060.0, 9999.0)) == 60
    assert START.seconds_until(Moment("other", 3.0, 5100.0)) == 100
