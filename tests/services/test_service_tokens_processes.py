"""Tokens across processes: kills, several workers of one service, rotation under load (G3a)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
from service_processes import REFERENCE, processes
from service_tokens import json_content, sign

from services.kit.keyring import read_key_set
from services.kit.keys import key_set_path
from services.kit.settings import SYSTEM_SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from service_processes import Process

CLIENT_TOKEN = "client-token-of-the-tests-0123456789"
CLIENT = {"Authorization": f"Bearer {CLIENT_TOKEN}"}
BODY = json_content({"content": "proof"})
PATH = "/v1/results/job-1"
ROUNDS = 20
BOOT_ID = os.path.exists("/proc/sys/kernel/random/boot_id")  # noqa: PTH110 - at collection
needs_boot_id = pytest.mark.skipif(not BOOT_ID, reason="a store lasts as long as its process here")


@pytest.fixture
def environ(state_folder: Path) -> dict[str, str]:
    return {"STATE_FOLDER": str(state_folder), "CLIENT_TOKEN": CLIENT_TOKEN}


def token(state: Path) -> str:
    return sign(state / "keys", "executor", "memory-engine", "PUT", PATH, content=BODY)


def put(url: str, token: str) -> int:
    headers = {"X-Service-Token": token, "Content-Type": "application/json"}
    return httpx.put(url + PATH, content=BODY, headers=headers, trust_env=False).status_code


@needs_boot_id
def test_a_token_that_was_accepted_right_before_a_kill_is_refused_after_it(
    state_folder: Path, environ: dict[str, str]
) -> None:
    with processes(["memory-engine"], state_folder, environ) as running:
        (memory,) = running["memory-engine"]
        for _ in range(3):
            used, unused = token(state_folder), token(state_folder)
            assert put(memory.url, used) == 200
            memory.kill()
            memory.start()
            memory.until_ready()
            assert (put(memory.url, used), put(memory.url, unused)) == (401, 200)


@needs_boot_id
def test_of_two_workers_only_one_accepts_a_token(
    state_folder: Path, environ: dict[str, str]
) -> None:
    """Both over one store; each token is sent to both at the same time, several times."""
    with processes(["memory-engine"], state_folder, environ, copies=2) as running:
        urls = [process.url for process in running["memory-engine"]] * 2
        with ThreadPoolExecutor(len(urls)) as threads:
            for _ in range(ROUNDS):
                one = token(state_folder)
                together = threading.Barrier(len(urls))

                def send(url: str, one: str = one, together: Any = together) -> int:
                    together.wait(30)
                    return put(url, one)

                assert sorted(threads.map(send, urls)) == [200, 401, 401, 401]


# --- rotation under load -------------------------------------------------------------------


def rotated(state: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "services.rotate_keys", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REFERENCE), "STATE_FOLDER": str(state)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def signing(state: Path) -> dict[str, str]:
    """The id of the key that each service signs with."""
    sets = {name: read_key_set(key_set_path(state / "keys", name)) for name in SYSTEM_SERVICES}
    return {name: found.keys[0].kid for name, found in sets.items()}


def _signal(client: httpx.Client) -> str:
    answer = client.post("/v1/signal", json={"note": "x"})
    hops = answer.json().get("hops", []) if answer.status_code == 200 else []
    return "" if len(hops) == 6 else f"signal {answer.status_code} {hops}"


def _chat(client: httpx.Client) -> str:
    answer = client.post("/v1/chat", json={"message": "proof"})
    ended = answer.status_code == 200 and "event: done" in answer.text
    return "" if ended else f"chat {answer.status_code} {answer.text[-200:]}"


def _session(client: httpx.Client) -> str:
    answer = client.post("/v1/sessions", json={"ttl_seconds": 60})
    return "" if answer.status_code == 201 else f"session {answer.status_code}"


def client_of(url: str) -> httpx.Client:
    """What waits long: a machine that is busy with other things is no failed request."""
    return httpx.Client(base_url=url, headers=CLIENT, timeout=60, trust_env=False)


class Load:
    """Clients that ask without a pause until they are told to stop."""

    def __init__(self, url: str) -> None:
        """Ask the gateway at `url`."""
        self._url = url
        self._stop = threading.Event()
        self.problems: list[str] = []
        self.answered = dict.fromkeys(("_signal", "_chat", "_session"), 0)

    def __enter__(self) -> Self:
        """Start them."""
        self._threads = [
            threading.Thread(target=self._ask, args=(ask,)) for ask in (_signal, _chat, _session)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self, ask: Callable[[httpx.Client], str]) -> None:
        with client_of(self._url) as client:
            while not self._stop.is_set():
                try:
                    problem = ask(client)
                except httpx.HTTPError as error:
                    problem = f"{ask.__name__} {error!r}"
                if problem:
                    self.problems.append(problem)
                self.answered[ask.__name__] += 1

    def more(self, count: int = 5) -> None:
        """Wait until each has asked `count` times more."""
        wanted = {name: number + count for name, number in self.answered.items()}
        deadline = time.monotonic() + 120
        while any(self.answered[name] < number for name, number in wanted.items()):
            assert time.monotonic() < deadline, self.answered
            time.sleep(0.05)


@pytest.fixture
def six(state_folder: Path, environ: dict[str, str]) -> Iterator[dict[str, list[Process]]]:
    with processes(SYSTEM_SERVICES, state_folder, environ) as running:
        yield running


def test_two_rotations_under_load_fail_no_request(
    six: dict[str, list[Process]], state_folder: Path
) -> None:
    gateway = six["gateway"][0]
    pids = {name: found[0].process.pid for name, found in six.items()}
    seen = [signing(state_folder)]
    with Load(gateway.url) as load:
        load.more()
        for _ in range(2):
            told = rotated(state_folder, "--all", "--overlap", "5")
            assert len(re.findall("signs with", told)) == len(SYSTEM_SERVICES)
            seen.append(signing(state_folder))
            load.more()
        load.more(10)
    assert load.problems == []
    for name in SYSTEM_SERVICES:
        assert len({kids[name] for kids in seen}) == 3, name
    assert all(found[0].process.poll() is None for found in six.values())
    assert {name: found[0].process.pid for name, found in six.items()} == pids
    for name, found in six.items():
        log = found[0].log.read_text("utf-8")
        assert "service token refused" not in log, name
        assert "eyJ" not in log, name


def test_a_revoked_key_is_refused_at_once_by_running_services(
    six: dict[str, list[Process]], state_folder: Path
) -> None:
    memory, gateway = six["memory-engine"][0], six["gateway"][0]
    stolen, good = token(state_folder), token(state_folder)
    assert put(memory.url, good) == 200
    told = rotated(state_folder, "--revoke", signing(state_folder)["executor"])
    assert "is refused" in told
    assert put(memory.url, stolen) == 401
    assert put(memory.url, token(state_folder)) == 200
    with client_of(gateway.url) as client:
        assert _signal(client) == ""
