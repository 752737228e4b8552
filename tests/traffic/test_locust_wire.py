"""traffic.locust_wire: a message is its sender's, whole, in order, and said once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from fakes.system import stack_value, write_value

from common.cli import ConfigurationError
from stack.load import load_stack
from traffic.locust_wire import (
    TO_MASTER,
    TO_WORKER,
    TOKEN_VARIABLE,
    RefusedError,
    Seal,
    is_start,
    read_sample,
    sample_row,
    secret_names,
    start_row,
    token_of,
)
from traffic.sample import Outcome, Sample

if TYPE_CHECKING:
    from pathlib import Path


def ends(key: bytes = b"key") -> tuple[Seal, Seal]:
    """A worker's end and the master's."""
    return Seal(key, TO_MASTER), Seal(key, TO_WORKER)


def test_both_ends_understand_each_other_in_order() -> None:
    worker, master = ends()
    for number in range(3):
        assert master.open(worker.wrap("batch", rows=[number]))["rows"] == [number]
        assert worker.open(master.wrap("stop"))["kind"] == "stop"


def test_another_token_is_refused() -> None:
    with pytest.raises(RefusedError, match="wrong token"):
        ends(b"other")[1].open(ends()[0].wrap("join"))


def test_a_changed_body_is_refused() -> None:
    worker, master = ends()
    message = worker.wrap("batch", rows=[1])
    message["body"] = message["body"].replace("1", "2")
    with pytest.raises(RefusedError, match="wrong token"):
        master.open(message)


def test_a_repeated_message_is_refused() -> None:
    worker, master = ends()
    message = worker.wrap("batch")
    master.open(message)
    with pytest.raises(RefusedError, match="expected message 1, got 0"):
        master.open(message)


def test_a_missing_message_is_noticed_at_the_next_one() -> None:
    worker, master = ends()
    worker.wrap("batch")
    with pytest.raises(RefusedError, match="expected message 0, got 1"):
        master.open(worker.wrap("batch"))


def test_what_one_end_said_can_not_be_sent_back_to_it() -> None:
    worker, _ = ends()
    with pytest.raises(RefusedError, match="wrong token"):
        worker.open(worker.wrap("time"))


def test_a_message_of_another_session_is_refused() -> None:
    worker, master = ends()
    recorded = worker.session("a", "b").wrap("batch")
    with pytest.raises(RefusedError, match="wrong token"):
        master.session("a", "c").open(recorded)


@pytest.mark.parametrize("data", [None, 7, {}, {"body": 1, "mac": "x"}, {"body": "{}"}, ["body"]])
def test_what_is_no_message_at_all_is_refused(data: object) -> None:
    with pytest.raises(RefusedError, match="expected a body and a MAC"):
        ends()[1].open(data)


def test_a_mac_that_is_no_ascii_is_refused() -> None:
    with pytest.raises(RefusedError, match="wrong token"):
        ends()[1].open({"body": "{}", "mac": "é" * 64})


def test_the_key_is_not_in_a_message() -> None:
    worker, _ = ends(b"very-secret-token")
    assert "very-secret-token" not in str(worker.wrap("join", nonce="x"))


def test_a_sample_comes_out_as_it_went_in() -> None:
    sample = Sample(1, 2, 3, 0.1, 0.2, 0.3, done_seconds=1 / 3, outcome=Outcome.WRONG, status=503)
    worker, master = ends()
    rows = [start_row(1, 2, 3, 0.1), sample_row(sample, "a text")]
    begun, ended = master.open(worker.wrap("batch", rows=rows))["rows"]
    assert is_start(begun)
    assert not is_start(ended)
    found, text = read_sample(ended)
    assert text == "a text"
    assert math.isnan(found.first_token_seconds)
    assert repr(found) == repr(sample)


@pytest.mark.parametrize("environ", [{}, {TOKEN_VARIABLE: "fifteen-letters"}])
def test_no_token_or_a_short_one_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="expected 16 characters or more"):
        token_of(environ)
    assert token_of({TOKEN_VARIABLE: "sixteen-letters!"}) == b"sixteen-letters!"


def test_the_secrets_of_the_traffic_are_those_in_its_headers(tmp_path: Path) -> None:
    profile = {"name": "one", "service": "front", "per_second": 1, "path": "/x"}
    profile |= {"expect": {"status": 200}}
    headers = {"headers": {"Authorization": "Bearer {secret:FAKE_KEY}"}}
    for more, names in ((headers, ["FAKE_KEY"]), ({}, [])):
        file = write_value(tmp_path, {**stack_value(), "traffic": [{**profile, **more}]})
        assert secret_names(load_stack(file, {}).traffic) == names
