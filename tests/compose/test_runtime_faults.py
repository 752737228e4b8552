"""The Compose runtime on a real engine: each kind of trouble ends the start with one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.runtimes import PYTHON_IMAGE, Opened, left_of

from common.cli import ConfigurationError, Exit, ScriptError
from stack.ports import local_ports, port_is_free

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stack.compose.runtime import ComposeRuntime

    Change = Callable[[dict[str, Any], dict[str, Any]], object]

pytestmark = pytest.mark.docker


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    opener = Opened(tmp_path)
    yield opener
    opener.close()


def refused(runtime: ComposeRuntime) -> ScriptError:
    """The error of a start that fails; nothing is left of it."""
    runtime.prepare()
    with pytest.raises(ScriptError) as caught:
        runtime.start()
    assert left_of(runtime.project) == []
    assert all(map(port_is_free, local_ports(runtime.services).values()))
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_container_that_ends_is_named_with_its_last_words(opened: Opened) -> None:
    line = str(refused(opened(jobs="exit")))
    assert line.startswith("jobs ended with exit code 3 before it was ready: its last log line is:")
    assert line.endswith("planted: the database is locked")


def test_a_container_that_ends_again_and_again_is_named(opened: Opened) -> None:
    def always(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        compose["services"]["jobs"]["restart"] = "always"

    assert str(refused(opened(always, jobs="exit"))).startswith("jobs ended with exit code 3")


def test_a_container_killed_for_memory_is_named_with_its_limit(opened: Opened) -> None:
    def little(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        compose["services"]["jobs"] |= {"mem_limit": "64m", "memswap_limit": "64m"}

    assert str(refused(opened(little, jobs="eat"))) == (
        "jobs was killed for memory (limit 64 MiB): raise its memory limit"
    )


def test_an_unhealthy_container_ends_the_wait_at_once(opened: Opened) -> None:
    def strict(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        test = ["CMD-SHELL", "echo planted sickness; exit 1"]
        compose["services"]["jobs"]["healthcheck"] |= {"retries": 1, "test": test}

    line = str(refused(opened(strict)))
    assert "jobs is unhealthy: its health check said: planted sickness" in line


def test_a_service_that_never_gets_ready_is_named_in_time(opened: Opened) -> None:
    def impatient(stack: dict[str, Any], _compose: dict[str, Any]) -> None:
        for item in stack["services"]:
            item["start_seconds"] = 3

    line = str(refused(opened(impatient, jobs="slow_health")))
    assert line.startswith("jobs was not ready within 3 s: /healthz gave status 503")


def test_a_task_that_fails_is_named(opened: Opened) -> None:
    def failing(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        command = ["sh", "-c", "echo no such table; exit 4"]
        compose["services"]["task"] = {"image": PYTHON_IMAGE, "command": command}
        needs = {"task": {"condition": "service_completed_successfully"}}
        compose["services"]["jobs"]["depends_on"] = needs

    line = str(refused(opened(failing)))
    assert line.startswith("task ended with exit code 4")
    assert line.endswith("no such table")


def test_a_port_that_a_container_has_is_named_with_it(opened: Opened) -> None:
    first = opened()
    first.prepare()
    first.start()
    second = opened()
    second.stack = first.stack
    ports = local_ports(first.services)
    text = second._plan.file.read_text()
    for name, port in local_ports(opened().services).items():
        text = text.replace(str(port), str(ports[name]))
    second._plan.file.write_text(text)
    with pytest.raises(ScriptError, match=rf"is taken by the container {first.project}-") as caught:
        second.prepare()
    assert caught.value.code == Exit.FAILED


def no_file(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
    compose["secrets"]["FAKE_KEY"]["file"] = "./none/FAKE_KEY"


def unknown_key(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
    compose["services"]["jobs"]["comand"] = ["x"]


def no_service(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
    compose["services"]["work"] = compose["services"].pop("jobs")
    compose["services"]["front"]["depends_on"] = {}


def other_profile(stack: dict[str, Any], compose: dict[str, Any]) -> None:
    stack["runtimes"]["compose"]["profiles"] = ["nobody"]
    for item in compose["services"].values():
        item["profiles"] = ["somebody"]


def no_image_name(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
    del compose["services"]["jobs"]["image"]
    compose["services"]["jobs"]["build"] = {"context": "."}


def no_compose_file(stack: dict[str, Any], _compose: dict[str, Any]) -> None:
    stack["runtimes"]["compose"]["file"] = "missing.yaml"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_file, r"the secret FAKE_KEY: expected the file .*/none/FAKE_KEY, got none"),
        (unknown_key, r"compose\.yaml: .*comand.* is not allowed: correct that line"),
        (no_service, r"expected a service for jobs \(front, work\), got no 'jobs'"),
        (other_profile, r"expected services in the profiles \(nobody\), got none"),
        (no_image_name, "jobs is built but has no image name"),
        (no_compose_file, r"expected the Compose file .*missing\.yaml, got none"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_compose_file_is_one_line(opened: Opened, change: Change, says: str) -> None:
    runtime = opened(change)
    with pytest.raises(ConfigurationError, match=says):
        runtime.prepare()
    assert left_of(runtime.project) == []


def test_broken_yaml_is_said_with_its_line(opened: Opened) -> None:
    runtime = opened()
    runtime._plan.file.write_text("services:\n  jobs:\n    image: a\n   command: b\n")
    with pytest.raises(ConfigurationError, match=r"compose\.yaml: .*line \d"):
        runtime.prepare()


def test_an_image_that_can_not_be_pulled_is_one_line(opened: Opened) -> None:
    def nowhere(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        compose["services"]["jobs"]["image"] = "127.0.0.1:1/hb/none:1"

    with pytest.raises(ScriptError, match=r"^pulling 127\.0\.0\.1:1/hb/none:1: can't pull an? "):
        opened(nowhere).prepare()


def build_of(folder: Path, text: str) -> Change:
    """A change that builds `jobs` from a Dockerfile."""

    def change(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        (folder / "Dockerfile").write_text(text)
        build = {"context": ".", "network": "none"}
        compose["services"]["jobs"] |= {"build": build, "image": "hb-test/built:1"}

    return change


def test_a_failed_build_shows_its_last_lines(opened: Opened, tmp_path: Path) -> None:
    text = f"FROM {PYTHON_IMAGE}\nRUN echo planted trouble && exit 9\n"
    with pytest.raises(ScriptError, match=r"the build of compose\.yaml failed: .*planted trouble"):
        opened(build_of(tmp_path, text)).prepare()


def test_an_image_that_is_not_built_is_named(opened: Opened, tmp_path: Path) -> None:
    def unbuilt(stack: dict[str, Any], compose: dict[str, Any]) -> None:
        build_of(tmp_path, f"FROM {PYTHON_IMAGE}\n")(stack, compose)
        compose["services"]["jobs"]["image"] = "hb-test/never-built:1"
        stack["runtimes"]["compose"]["build"] = False

    with pytest.raises(ScriptError, match=r"hb-test/never-built:1 of jobs is not there"):
        opened(unbuilt).prepare()


def test_an_answer_from_another_port_than_the_container_publishes_is_refused(
    opened: Opened,
) -> None:
    """What answers must be the container: here something else holds its port."""
    import http.server
    import threading

    def unpublished(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        del compose["services"]["front"]["ports"]

    class Impostor(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """No access log."""

    runtime = opened(unpublished)
    runtime.prepare()
    runtime._require_ports()
    runtime._require_ports = lambda: None  # type: ignore[method-assign]  # it comes after the check
    port = local_ports(runtime.services)["front"]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Impostor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(
            ScriptError, match=rf"container of front to publish port {port}, got none"
        ):
            runtime.start()
    finally:
        server.shutdown()
        server.server_close()
    assert left_of(runtime.project) == []
