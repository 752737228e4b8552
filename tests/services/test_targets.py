"""The local targets site: the same answers every time (P4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from services.targets.app import build

if TYPE_CHECKING:
    from service_protocols import Serve, SettingsFor


@pytest.fixture
def url(settings_for: SettingsFor, serve: Serve) -> str:
    return serve(build(settings_for("targets"))).url


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False)


@pytest.mark.parametrize(
    "path",
    ["/plain/", "/http-test/get?proof=pack", "/json-api/posts", "/json-api/posts/1"],
)
def test_an_answer_is_the_same_every_time_and_at_every_port(
    url: str, path: str, settings_for: SettingsFor, serve: Serve
) -> None:
    second = serve(build(settings_for("targets"))).url
    first_answer, second_answer = get(url + path), get(second + path)
    assert first_answer.status_code == 200
    assert first_answer.content == second_answer.content


def test_get_answers_the_query_without_what_differs(url: str) -> None:
    assert get(f"{url}/http-test/get?proof=pack").json() == {
        "args": {"proof": "pack"},
        "path": "/http-test/get",
    }


def test_headers_are_those_that_a_strategy_chooses(url: str) -> None:
    headers = {"User-Agent": "me", "X-Trace-Id": "0" * 32}
    answer = httpx.get(f"{url}/http-test/headers", headers=headers, trust_env=False).json()
    assert answer["headers"]["user-agent"] == "me"
    assert "x-trace-id" not in answer["headers"]


@pytest.mark.parametrize("status", [200, 204, 304, 404, 503, 599])
def test_status_answers_as_asked(url: str, status: int) -> None:
    assert get(f"{url}/http-test/status/{status}").status_code == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/http-test/status/100", 400),
        ("/http-test/status/600", 400),
        ("/http-test/status/x", 400),
        ("/http-test/status/" + "9" * 5000, 400),
        ("/http-test/delay/5.1", 400),
        ("/json-api/posts/0", 404),
        ("/json-api/posts/101", 404),
        ("/json-api/posts/" + "1" * 5000, 404),
        ("/nowhere", 404),
    ],
)
def test_what_is_out_of_range_is_refused(url: str, path: str, status: int) -> None:
    assert get(url + path).status_code == status


def test_posts_are_a_hundred_with_ids_in_order(url: str) -> None:
    posts = get(f"{url}/json-api/posts").json()
    assert [post["id"] for post in posts] == list(range(1, 101))
    assert posts[41] == get(f"{url}/json-api/posts/42").json()


def test_delay_answers_after_a_while(url: str) -> None:
    assert get(f"{url}/http-test/delay/0").json() == {"delay_seconds": 0.0}
