"""gating.ledger_chain, where mutants lived: each refusal names its file and line (H8, G7)."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from evidence.trace import FIRST_PREV
from gating.ledger_chain import Files, State, check_lines, read_state
from gating.ledger_head import Head, LedgerError, render, render_pending

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = "e" * 64


def digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def chain(count: int, word: str = "seen") -> list[bytes]:
    lines: list[bytes] = []
    for seq in range(1, count + 1):
        prev = digest(lines[-1]) if lines else FIRST_PREV
        lines.append(render({"seq": seq, "prev": prev, "time_utc": f"t{seq}", "entry": word}))
    return lines


def head(lines: list[bytes], sha256: str | None = None) -> Head:
    """Nobody looks at the signature here: no key is given."""
    return Head(len(lines), sha256 or digest(lines[-1]), "key", b"signature")


def files(lines: list[bytes], **more: bytes) -> Files:
    return Files(b"".join(lines), render(head(lines).as_json()), **more)


def pending(lines: list[bytes]) -> bytes:
    return render_pending(head(lines), lines[-1])


def refusal(given: Files) -> str:
    with pytest.raises(LedgerError) as caught:
        read_state(given, None)
    return str(caught.value)


THREE = chain(3)


def test_a_ledger_is_its_entries_and_its_newest_head() -> None:
    state = read_state(files(THREE), None)
    assert [(entry.seq, entry.time_utc) for entry in state.entries] == [
        (1, "t1"),
        (2, "t2"),
        (3, "t3"),
    ]
    assert [entry.sha256 for entry in state.entries] == [digest(line) for line in THREE]
    assert state == State(state.entries, head(THREE), b"", finished=True)


def test_a_ledger_that_a_writer_left_has_the_head_that_was_signed_first() -> None:
    state = read_state(files(THREE[:2], pending=pending(THREE)), None)
    assert (state.head, state.missing, state.finished) == (head(THREE), THREE[2], False)


def changed(line: bytes, **fields: object) -> bytes:
    return render(json.loads(line) | fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _line: b"{}\n", "expected an entry with seq, prev, time_utc, entry"),
        (lambda line: changed(line, seq=9), "expected seq 3, got 9"),
        (
            lambda line: changed(line, prev=OTHER),
            (
                f"expected prev {digest(THREE[1])}, got '{OTHER}': "
                "the line before was changed, moved or removed"
            ),
        ),
        (lambda line: changed(line, entry=1), "expected texts as time_utc and entry, got others"),
    ],
)
def test_a_changed_line_is_named(change: Callable[[bytes], bytes], words: str) -> None:
    lines = [*THREE[:2], change(THREE[2])]
    assert refusal(files(lines)) == f"ledger.jsonl: line 3: {words}"


def test_a_line_that_is_no_json_is_named() -> None:
    text = refusal(files([*THREE[:2], b"x\n"]))
    assert text.startswith("ledger.jsonl: line 3")
    assert text.endswith(": expected an entry, got an edited line")


def test_a_cut_ledger_and_another_head_are_named() -> None:
    lines = b"".join(THREE)
    for data, count, sha256, words in (
        (lines[:-1], 3, digest(THREE[2]), "expected a final newline, got a line that was cut"),
        (lines, 4, digest(THREE[2]), "expected 4 entries, got 3"),
        (
            lines,
            3,
            OTHER,
            f"expected the head {OTHER}, got {digest(THREE[2])}: a line was changed",
        ),
    ):
        with pytest.raises(LedgerError) as caught:
            check_lines(data, count, sha256, "mine")
        assert str(caught.value) == f"mine: {words}"


@pytest.mark.parametrize("kept", [0, 1])
def test_lines_lost_before_the_pending_one_are_counted(kept: int) -> None:
    given = Files(b"".join(THREE[:kept]), render(head(THREE[:2]).as_json()), pending(THREE))
    assert refusal(given) == f"ledger.jsonl: expected 2 entries, got {kept}"


def test_what_somebody_else_wrote_is_shown_to_the_80th_byte() -> None:
    tail = b"x" * 90
    given = Files(b"".join(THREE[:2]) + tail, files(THREE[:2]).head, pending(THREE))
    assert refusal(given) == (
        "ledger.jsonl: line 3: expected a beginning of the pending line, "
        f"got {tail[:80]!r}: somebody else wrote it"
    )


def test_a_head_of_another_history_is_named_with_both() -> None:
    other = chain(2, "lost")
    given = Files(b"".join(THREE[:2]), render(head(other).as_json()), pending(THREE))
    assert refusal(given) == (
        f"ledger.head.json: expected the head {digest(THREE[1])}, got {digest(other[1])}"
    )


def test_two_lines_for_one_place_are_named_with_both() -> None:
    other = [*THREE[:2], chain(3, "lost")[2]]
    assert refusal(files(THREE, pending=pending(other))) == (
        f"ledger.pending.json: expected the head {digest(THREE[2])}, got {digest(other[2])}: "
        "two lines were signed for one place"
    )


def test_a_pending_file_of_another_form_is_named() -> None:
    text = refusal(files(THREE[:2], pending=b"[]\n"))
    assert text == (
        "ledger.pending.json: expected one line with seq, head_sha256, keyid, signature, line, "
        f"got {b'[]' + bytes([10])!r}"
    )


def test_a_pending_line_that_is_no_text_is_refused_in_one_line() -> None:
    """JSON can name half a character; no encoding has bytes for it, and no writer wrote it."""
    value = head(THREE).as_json() | {"line": "\ud800\n"}
    text = refusal(files(THREE[:2], pending=render(value)))
    assert text.startswith("ledger.jsonl: line 3")
