"""stack.workload: JSON Pointers, retries, and trouble on the wire as a text."""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from fakes.system import stack_value, write_value
from hypothesis import given
from hypothesis import strategies as st

from stack.load import load_stack
from stack.plan import plan_jobs
from stack.workload import SUBMIT_ATTEMPTS, WorkloadClient, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = st.text(min_size=1, max_size=5)


@given(st.lists(KEYS, min_size=1, max_size=5), st.integers())
def test_a_pointer_finds_what_stands_there(path: list[str], value: int) -> None:
    nested: Any = value
    for key in reversed(path):
        nested = {key: nested}
    where = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
    assert pointer(nested, where) == value
    assert pointer(nested, where + "/deeper") is None


@pytest.mark.parametrize("where", [None, "", "/x", "/a/7", "/a/x", "/a/-1"])
def test_a_pointer_to_nothing_is_none(where: str | None) -> None:
    assert pointer({"a": [1, 2]}, where) is None


class Flaky(http.server.BaseHTTPRequestHandler):
    """Drops the connection of the first two submissions after reading them."""

    keys: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        """Take the body, then answer only the third time."""
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers.get("Idempotency-Key", "none")
        self.keys[key] += 1
        if self.keys[key] < SUBMIT_ATTEMPTS:
            self.connection.close()
            return
        data = b'{"id": "one"}'
        self.send_response(201)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """No log."""


@pytest.fixture
def flaky() -> Iterator[str]:
    Flaky.keys = Counter()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def client(folder: Path, url: str, *, idempotent: bool = True) -> WorkloadClient:
    value = stack_value()
    value["services"][1]["url"] = url
    if not idempotent:
        del value["workload"]["submit"]["idempotency_header"]
    return WorkloadClient(load_stack(write_value(folder, value), {}), {"FAKE_KEY": "k"}, "run")


def test_a_lost_answer_is_asked_again_under_the_same_key(tmp_path: Path, flaky: str) -> None:
    talker = client(tmp_path, flaky)
    (job,) = plan_jobs(load_stack(tmp_path / "stack.yaml", {}).workload, 1, "local")
    assert talker.submit(job).job_id == "one"
    assert Flaky.keys == {"run-0": SUBMIT_ATTEMPTS}


def test_without_an_idempotent_api_nothing_is_sent_twice(tmp_path: Path, flaky: str) -> None:
    talker = client(tmp_path, flaky, idempotent=False)
    (job,) = plan_jobs(load_stack(tmp_path / "stack.yaml", {}).workload, 1, "local")
    answer = talker.submit(job)
    assert answer.job_id is None
    assert answer.error
    assert "no answer from" in answer.error
    assert Flaky.keys == {"none": 1}


def test_a_dead_service_is_a_text_and_no_exception(tmp_path: Path) -> None:
    talker = client(tmp_path, "http://127.0.0.1:9")
    look = talker.look("x")
    assert look.state == "unknown"
    assert look.error
    assert "refused" in look.error
