"""Streams: windows lose nothing, archives are opened within bounds, nothing ends unsaid."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_secrets import Maker
from secret_tree import tarred, zipped

from secret_scan import streams, unpacking
from secret_scan.engine import make_engine
from secret_scan.findings import Tally
from secret_scan.fingerprint import FingerprintKey
from secret_scan.judging import Place
from secret_scan.rules import load_rules
from secret_scan.scan import SEGMENT_BYTES, scan
from secret_scan.text_scan import TextScanner
from secret_scan.windows import BEHIND_BYTES, CORE_BYTES, windows

if TYPE_CHECKING:
    from pathlib import Path

KEY = FingerprintKey(b"k" * 32)
SCANNER = TextScanner(make_engine(load_rules(), "re2"), KEY)
TOKEN = Maker("t").fill("ghp_{an:36}")
LINE = f"token={TOKEN}\n".encode()


def unpacked(data: bytes) -> Tally:
    """What a scan of these bytes comes to."""
    tally = Tally()
    stream = io.BufferedReader(io.BytesIO(data))
    unpacking.scan_stream(SCANNER, stream, Place("x"), tally)
    return tally


@given(st.binary(max_size=300_000), st.integers(1, 100_000), st.integers(0, 2000))
def test_windows_cover_a_stream_once(data: bytes, chunk: int, before: int) -> None:
    head = data[:before]
    chunks = [data[at : at + chunk] for at in range(0, len(data), chunk)]
    core = b"".join(
        window.text[window.core_start : window.core_end] for window in windows(chunks, before=head)
    )
    assert core == data


@pytest.mark.parametrize("shift", [-41, -40, -39, -20, -7, -1, 0, 1])
def test_a_secret_across_the_edge_of_a_window_is_found_once(shift: int) -> None:
    data = b"x" * (CORE_BYTES + shift - 1) + b"\n" + LINE + b"y" * 200_000
    tally = SCANNER.scan([data], Place("x"), is_binary=False)
    (finding,) = tally.findings
    assert finding.line == 2


@pytest.mark.parametrize("chunk", [1000, 256 << 10, 1 << 20])
def test_a_stream_without_line_breaks_is_read_in_bounded_pieces(chunk: int) -> None:
    """Also where a chunk is larger than a window: nothing is scanned again and again."""
    pieces = [len(one.text) for one in windows(iter([b"x" * chunk] * 8))]
    assert max(pieces) <= CORE_BYTES + 2 * BEHIND_BYTES


def test_a_large_file_is_cut_and_its_lines_are_counted_through(tmp_path: Path) -> None:
    line = b"0123456789abcde\n"
    count = 5 * SEGMENT_BYTES // 2 // len(line)
    (tmp_path / "large.log").write_bytes(line * count + LINE + line * 10 + LINE)
    result = scan([tmp_path / "large.log"], engine="re2", key=KEY, workers=1)
    assert [one.line for one in result.findings] == [count + 1, count + 12]
    assert result.counts["bytes"] == (tmp_path / "large.log").stat().st_size


@pytest.mark.parametrize("shift", [-41, -10, -1, 0, 1])
def test_a_secret_across_the_edge_of_a_cut_is_found_once(tmp_path: Path, shift: int) -> None:
    head = b"x" * (SEGMENT_BYTES + shift - 1) + b"\n"
    (tmp_path / "large.log").write_bytes(head + LINE + b"z" * (2 * SEGMENT_BYTES))
    result = scan([tmp_path / "large.log"], engine="re2", key=KEY, workers=1)
    assert [one.line for one in result.findings] == [2]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_data_is_read(pack: object) -> None:
    assert callable(pack)
    (finding,) = unpacked(pack(LINE)).findings
    assert finding.rule == "github-token"
    two_members = pack(b"first\n") + pack(LINE)
    assert [one.line for one in unpacked(two_members).findings] == [2]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_of_each_form_is_read_with_long_names(kind: int) -> None:
    name = "/".join(["folder"] * 13) + "/a.env"
    long_name = name if kind == tarfile.USTAR_FORMAT else f"{'n' * 200}/é.env"
    data = tarred({"first.txt": b"fine", long_name: LINE, "last.env": LINE}, kind)
    tally = unpacked(data)
    assert [one.path for one in tally.findings] == [f"x!{long_name}", "x!last.env"]
    assert tally.counts["members"] == 3


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_text_is_read_with_and_without_a_mark(encoding: str) -> None:
    text = "".join(f"line {number} of a file\n" for number in range(40)) + LINE.decode()
    (finding,) = unpacked(text.encode(encoding)).findings
    assert finding.line == 41


def test_generic_rules_are_not_tried_on_binary_data() -> None:
    value = Maker("b").fill("password = '{an:20}'").encode()
    assert unpacked(value).findings != []
    assert unpacked(b"\x7fELF\0\0\0\1" + value).findings == []
    assert unpacked(b"\x7fELF\0\0\0\1" + LINE).findings != []


def one_reason(tally: Tally) -> str:
    """The reason why something was not read; there has to be one."""
    (unread,) = tally.unread
    return unread.reason


def test_a_bomb_ends_as_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.Budget, "left_bytes", 1 << 20)
    monkeypatch.setattr(unpacking, "Budget", lambda: streams.Budget(1 << 20))
    zeros = bytes(4 << 20)
    for bomb in (gzip.compress(zeros), lzma.compress(zeros), zipped({"a": zeros, "b": zeros})):
        tally = unpacked(bomb)
        assert any("unpacks to more than" in one.reason for one in tally.unread)


def test_many_members_end_as_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "Budget", lambda: streams.Budget(left_members=3))
    for pack in (zipped, tarred):
        tally = unpacked(pack({str(number): b"x" for number in range(9)}))
        assert one_reason(tally) == "holds more than 100000 files"


def test_what_is_packed_too_often_is_unread() -> None:
    data = LINE
    for _ in range(unpacking.DEEPEST):
        data = gzip.compress(data)
    assert unpacked(data).findings != []
    assert one_reason(unpacked(gzip.compress(data))) == "packed more than 4 times"


def test_a_zip_with_a_password_is_unread() -> None:
    data = bytearray(zipped({"a.env": LINE}))
    at = data.index(b"PK\x01\x02")
    data[6] |= 1  # "encrypted", in the member's header and in the directory
    data[at + 8] |= 1
    assert "encrypted" in one_reason(unpacked(bytes(data)))


@pytest.mark.parametrize("magic", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd"])
def test_a_format_that_is_known_and_not_read_is_unread(magic: bytes) -> None:
    assert "can't unpack" in one_reason(unpacked(magic + bytes(100)))


PACKED = {
    "gzip": gzip.compress(LINE * 20),
    "bz2": bz2.compress(LINE * 20),
    "xz": lzma.compress(LINE * 20),
    "zip": zipped({"a.env": LINE * 20}),
    "tar": tarred({"a.env": LINE * 20}),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_cut_off_file_is_unread_or_found(name: str) -> None:
    """Cut anywhere behind its magic bytes, it is never read as complete and clean."""
    whole = PACKED[name]
    for length in range(10, len(whole) - 1024 if name == "tar" else len(whole), 7):
        tally = unpacked(whole[:length])
        assert tally.unread or tally.findings or length < 270, length


@pytest.mark.parametrize("name", PACKED)
@given(data=st.data())
def test_broken_archives_never_end_in_a_traceback(name: str, data: st.DataObject) -> None:
    whole = bytearray(PACKED[name])
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    unpacked(bytes(whole))
