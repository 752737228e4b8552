"""gating.ledger_chain: what is signed is read, a torn tail is finished, all else is refused."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from bundles import make_key
from ledgers import CONTRACT

from common.schema import validator
from evidence.trace import FIRST_PREV
from gating.ledger_chain import Files, State, check_lines, read_state
from gating.ledger_head import Head, LedgerError, render, render_pending, statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from evidence.keys import SigningKey


@dataclass(frozen=True)
class Signed:
    """Three signed entries, with the files as they were before and after the third."""

    key: SigningKey
    thief: SigningKey
    before: Files
    during: Files
    after: Files

    def lines(self) -> list[bytes]:
        assert self.after.lines is not None
        return self.after.lines.splitlines(keepends=True)

    def read(self, files: Files) -> State:
        return read_state(files, self.key.public)


def chain(count: int) -> list[bytes]:
    lines: list[bytes] = []
    for seq in range(1, count + 1):
        prev = hashlib.sha256(lines[-1]).hexdigest() if lines else FIRST_PREV
        start = {"seq": seq, "prev": prev, "time_utc": "2026-01-01T00:00:00.000Z"}
        fields = {"entry": "contract", "stack": f"s{seq}", "version": seq, "sha256": CONTRACT}
        lines.append(render(start | fields))
    return lines


def head(key: SigningKey, lines: list[bytes]) -> Head:
    sha256 = hashlib.sha256(lines[-1]).hexdigest()
    return Head(len(lines), sha256, key.keyid, key.sign(statement(len(lines), sha256)))


def files(key: SigningKey, lines: list[bytes]) -> Files:
    return Files(b"".join(lines), render(head(key, lines).as_json()))


@pytest.fixture(scope="module", params=["ecdsa-p256", "ed25519"])
def signed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Signed:
    folder = tmp_path_factory.mktemp("keys")
    key = make_key(folder, algorithm=request.param).signer
    thief = make_key(folder, "thief").signer
    lines = chain(3)
    before, after = files(key, lines[:2]), files(key, lines)
    during = replace(before, pending=render_pending(head(key, lines), lines[2]))
    return Signed(key, thief, before, during, after)


def test_every_signed_entry_is_read(signed: Signed) -> None:
    state = signed.read(signed.after)
    assert [entry.fields["stack"] for entry in state.entries] == ["s1", "s2", "s3"]
    assert (state.missing, state.finished) == (b"", True)
    for line in signed.lines():
        assert not list(validator("ledger_entry").iter_errors(json.loads(line)))


def test_no_file_is_an_empty_ledger(signed: Signed) -> None:
    assert signed.read(Files()) == State((), None, b"", finished=True)


def test_a_line_torn_at_any_byte_is_finished(signed: Signed) -> None:
    line = signed.lines()[2]
    for length in range(len(line) + 1):
        torn = replace(signed.during, lines=(signed.before.lines or b"") + line[:length])
        state = signed.read(torn)
        assert (len(state.entries), state.missing) == (3, line[length:])
        assert not state.finished


def test_a_first_line_torn_at_any_byte_is_finished(signed: Signed) -> None:
    line = signed.lines()[0]
    pending = render_pending(head(signed.key, [line]), line)
    for lines in (None, *(line[:length] for length in range(len(line) + 1))):
        assert len(signed.read(Files(lines, None, pending)).entries) == 1


def test_a_pending_file_that_the_head_has_overtaken_changes_nothing(signed: Signed) -> None:
    state = signed.read(replace(signed.after, pending=signed.during.pending))
    assert (len(state.entries), state.missing, state.finished) == (3, b"", False)


def test_a_last_line_cut_at_any_byte_is_refused(signed: Signed) -> None:
    whole = signed.after.lines or b""
    for length in range(len(signed.before.lines or b""), len(whole)):
        with pytest.raises(LedgerError, match="expected"):
            signed.read(replace(signed.after, lines=whole[:length]))


@pytest.mark.parametrize("name", ["head", "pending"])
def test_a_head_cut_at_any_byte_is_refused(name: str, signed: Signed) -> None:
    data = getattr(signed.during, name)
    for length in range(len(data)):
        with pytest.raises(LedgerError, match="expected"):
            signed.read(replace(signed.during, **{name: data[:length]}))


def test_any_changed_byte_is_refused(signed: Signed) -> None:
    for name in ("lines", "head"):
        data = getattr(signed.after, name)
        for position in range(0, len(data), 7):
            changed = bytearray(data)
            changed[position] ^= 1
            with pytest.raises(LedgerError):
                signed.read(replace(signed.after, **{name: bytes(changed)}))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: [lines[1], lines[0], lines[2]], "expected seq 1, got 2"),
        (lambda lines: [lines[0], lines[2]], "expected seq 2, got 3"),
        (lambda lines: lines[1:], "expected seq 1, got 2"),
        (lambda lines: lines[:2], "expected 3 entries, got 2"),
        (lambda _lines: [], "expected 3 entries, got 0"),
        (lambda lines: [*lines, lines[2]], "expected seq 4, got 3"),
        (lambda _lines: chain(4), "expected 3 entries, got 4"),
        (lambda lines: [lines[0], lines[1].replace(b"s2", b"s9"), lines[2]], "line 3: expected p"),
        (lambda lines: [*lines[:2], lines[2].replace(b"s3", b"s9")], "expected the head"),
        (lambda lines: [*lines[:2], lines[2].replace(b"\n", b"\r\n")], "expected the head"),
        (lambda lines: [*lines, b"\n"], "line 4:1: not JSON"),
        (lambda lines: [*lines[:2], b"[]\n"], "line 3: expected an entry with"),
        (
            lambda lines: [b'["seq", "prev", "time_utc", "entry"]\n', *lines[1:]],
            "line 1: expected an entry with",
        ),
        (lambda lines: [lines[0].replace(b"1,", b"true,", 1), *lines[1:]], "expected seq 1, got T"),
        (
            lambda lines: [lines[0].replace(b"1,", b"1.0,", 1), *lines[1:]],
            "expected seq 1, got 1.0",
        ),
        (
            lambda lines: [*lines[:2], lines[2].replace(b'"2026-01-01T00:00:00.000Z"', b"2026")],
            "expected texts",
        ),
        (lambda lines: [*lines[:2], lines[2].replace(b'"contract"', b"1")], "expected texts"),
    ],
)
def test_changed_lines_are_refused(
    change: Callable[[list[bytes]], list[bytes]], problem: str, signed: Signed
) -> None:
    with pytest.raises(LedgerError, match=problem):
        signed.read(replace(signed.after, lines=b"".join(change(signed.lines()))))


def test_a_history_that_was_written_anew_is_refused(signed: Signed) -> None:
    """Every hash fits, and the head is of the thief."""
    forged = [line.replace(b"s2", b"s9") for line in chain(2)]
    rechained = files(signed.thief, forged)
    with pytest.raises(LedgerError, match="expected a head signed by key"):
        signed.read(rechained)


def test_a_head_in_another_name_is_refused(signed: Signed) -> None:
    """The thief claims the victim's key id."""
    sha256 = hashlib.sha256(signed.lines()[2]).hexdigest()
    forged = Head(3, sha256, signed.key.keyid, signed.thief.sign(statement(3, sha256)))
    with pytest.raises(LedgerError, match=r"on seq 3 and .* got one that does not fit"):
        signed.read(replace(signed.after, head=render(forged.as_json())))


def test_a_missing_head_is_refused(signed: Signed) -> None:
    for lines in (signed.after.lines, b""):
        with pytest.raises(LedgerError, match=r"expected ledger\.head\.json .* got no file"):
            signed.read(Files(lines))


def test_missing_lines_are_refused(signed: Signed) -> None:
    with pytest.raises(LedgerError, match=r"expected ledger\.jsonl with 3 entries, got no file"):
        signed.read(replace(signed.after, lines=None))


def test_an_older_head_is_refused(signed: Signed) -> None:
    with pytest.raises(LedgerError, match="expected 2 entries, got 3"):
        signed.read(replace(signed.after, head=signed.before.head))


def test_a_line_that_no_pending_file_announces_is_refused(signed: Signed) -> None:
    line = signed.lines()[2]
    for length in (1, len(line) // 2, len(line) - 1):
        with pytest.raises(LedgerError, match="expected a final newline"):
            signed.read(replace(signed.before, lines=(signed.before.lines or b"") + line[:length]))


def test_a_tail_that_is_not_the_pending_line_is_refused(signed: Signed) -> None:
    line = signed.lines()[2]
    for tail in (b"x", line[:9] + b"x", line + b"x", line + line, b"\0"):
        with pytest.raises(LedgerError, match="expected a beginning of the pending line"):
            signed.read(replace(signed.during, lines=(signed.before.lines or b"") + tail))


def test_lines_lost_before_the_pending_one_are_refused(signed: Signed) -> None:
    for lines in (signed.lines()[0], b""):
        with pytest.raises(LedgerError, match="expected 2 entries, got"):
            signed.read(replace(signed.during, lines=lines))


def test_a_pending_line_of_the_thief_is_refused(signed: Signed) -> None:
    lines = signed.lines()
    pending = render_pending(head(signed.thief, lines), lines[2])
    with pytest.raises(LedgerError, match=r"pending\.json: expected a head signed by key"):
        signed.read(replace(signed.before, pending=pending))


def test_another_line_under_the_pending_signature_is_refused(signed: Signed) -> None:
    lines = signed.lines()
    pending = render_pending(head(signed.key, lines), lines[2].replace(b"s3", b"s9"))
    with pytest.raises(LedgerError, match="expected the head"):
        signed.read(replace(signed.before, pending=pending))


def test_a_pending_file_of_another_place_is_refused(signed: Signed) -> None:
    lines = chain(4)
    pending = render_pending(head(signed.key, lines), lines[3])
    with pytest.raises(LedgerError, match="expected seq 3, the one after the head, got 4"):
        signed.read(replace(signed.before, pending=pending))
    with pytest.raises(LedgerError, match="expected seq 1, the one after the head, got 2"):
        signed.read(
            Files(
                b"".join(lines[:2]), pending=render_pending(head(signed.key, lines[:2]), lines[1])
            )
        )
    first = render_pending(head(signed.key, lines[:1]), lines[0])
    with pytest.raises(LedgerError, match="expected seq 3"):
        signed.read(replace(signed.before, pending=first))


def test_two_lines_signed_for_one_place_are_refused(signed: Signed) -> None:
    other = [*signed.lines()[:2], signed.lines()[2].replace(b"s3", b"s9")]
    pending = render_pending(head(signed.key, other), other[2])
    with pytest.raises(LedgerError, match="two lines were signed for one place"):
        signed.read(replace(signed.after, pending=pending))


def test_a_pending_line_in_two_pieces_is_refused(signed: Signed) -> None:
    lines = signed.lines()
    pending = render_pending(head(signed.key, lines), b"\n" + lines[2])
    with pytest.raises(LedgerError):
        signed.read(replace(signed.before, pending=pending))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seq": 0}, "expected a seq from 1 on and a SHA-256"),
        ({"head_sha256": "x"}, "expected a seq from 1 on and a SHA-256"),
        ({"head_sha256": "é" * 64}, "expected a seq from 1 on and a SHA-256"),
        ({"seq": "3"}, "expected one line with seq, head_sha256, keyid, signature"),
        ({"seq": True}, "expected one line"),
        ({"signature": None}, "expected one line"),
        ({"more": 1}, "expected one line"),
        ({"signature": "é"}, "expected a signature in base64"),
        ({"signature": "a.b="}, "expected a signature in base64"),
        ({"signature": "ab=="}, "got one that does not fit"),
    ],
)
def test_a_head_of_another_form_is_refused(
    change: dict[str, Any], words: str, signed: Signed
) -> None:
    value = json.loads(signed.after.head or b"") | change
    with pytest.raises(LedgerError, match=rf"ledger\.head\.json: .*{words}"):
        signed.read(replace(signed.after, head=render(value)))


def test_a_head_that_is_no_object_is_refused(signed: Signed) -> None:
    with pytest.raises(LedgerError, match="expected one line"):
        signed.read(replace(signed.after, head=b"[]\n"))


def test_an_entry_may_say_nothing_more_than_what_it_is() -> None:
    record = {"seq": 1, "prev": FIRST_PREV, "time_utc": "now", "entry": "seen"}
    line = render(record)
    entries = check_lines(line, 1, hashlib.sha256(line).hexdigest(), "ledger")
    assert (entries[0].entry, entries[0].fields) == ("seen", {})


def test_without_a_key_the_chain_is_still_checked(signed: Signed) -> None:
    assert len(read_state(signed.after, None).entries) == 3
    with pytest.raises(LedgerError, match="expected 3 entries, got 2"):
        read_state(replace(signed.after, lines=signed.before.lines), None)


def test_the_head_is_what_openssl_can_check(signed: Signed) -> None:
    value = json.loads(signed.after.head or b"")
    text = f"proof-pack ledger head 1\nseq 3\nsha256 {value['head_sha256']}\n"
    assert signed.key.public.accepts(base64.b64decode(value["signature"]), text.encode())


def test_a_pending_line_that_continues_another_history_is_refused(signed: Signed) -> None:
    """Both heads are signed, of two histories of the same key."""
    other = [line.replace(b"s1", b"s7") for line in chain(1)]
    lines = chain(2)
    pending = render_pending(head(signed.key, lines), lines[1])
    forked = replace(files(signed.key, other), pending=pending)
    with pytest.raises(LedgerError, match="line 2: expected prev"):
        signed.read(forked)
    with pytest.raises(LedgerError, match=r"head\.json: expected the head"):
        signed.read(replace(forked, lines=lines[0]))
