"""CORS and TLS (K1): broken and good, as configured and as answered."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from configuration.checks.origins import FOREIGN, judge_answer
from configuration.checks.tls import is_near, switched_off
from configuration.live import Live
from stack.model import Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fakes.configuration import Configured


@pytest.mark.parametrize("value", ["*", '["*"]', "https://a.example, *", "null", "https://*"])
def test_every_page_is_let_in_by_configuration(configured: Configured, value: str) -> None:
    configured.tell(CORS_ALLOWED_ORIGINS=value)
    assert "it is not public" in configured.problems("cors-configured")


def test_a_list_of_pages_is_fine_and_nothing_said_is_skipped(configured: Configured) -> None:
    assert configured.outcome("cors-configured") == "skipped"
    configured.tell(ALLOWED_ORIGINS="https://app.example.com,https://b.example.com")
    assert configured.outcome("cors-configured") == "passed"


def test_a_public_service_may_let_every_page_in_but_never_with_credentials(
    configured: Configured,
) -> None:
    jobs = configured.value["runtimes"]["process"]["services"]["jobs"]
    jobs["environment"] = {"CORS_ORIGINS": "*"}
    assert configured.outcome("cors-configured") == "failed"
    configured.value["services"][1]["public"] = True
    assert configured.outcome("cors-configured") == "passed"
    jobs["environment"]["CORS_ALLOW_CREDENTIALS"] = "true"
    assert "with the user's credentials" in configured.problems("cors-configured")


@contextmanager
def serving(headers: Mapping[str, str], *, reflect: bool = False) -> Iterator[str]:
    """A service that answers every request with these headers; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            if reflect and (origin := self.headers.get("Origin")):
                self.send_header("Access-Control-Allow-Origin", origin)
            self.end_headers()

        do_OPTIONS = do_GET  # noqa: N815 - the name http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def live_at(url: str, *, public: bool = False) -> Live:
    service = Service("front", url, public=public)
    return Live((service,), {}, {"front": ["/healthz", "/jobs"]})


def test_a_service_that_gives_the_origin_back_is_found(configured: Configured) -> None:
    with serving({}, reflect=True) as url:
        said = configured.problems("cors-answered", live=live_at(url))
    for place in ("GET /healthz", "OPTIONS /healthz", "GET /jobs", "OPTIONS /jobs"):
        assert f"front {place}: it lets any page in (the Origin is given back)" in said


def test_a_service_that_says_nothing_of_origins_passes(configured: Configured) -> None:
    with serving({"Content-Type": "text/plain"}) as url:
        found = configured.result("cors-answered", live=live_at(url))
    assert (found.outcome, len(found.rows)) == ("passed", 4)


def test_a_service_that_does_not_answer_has_not_passed(configured: Configured) -> None:
    with serving({}) as url:
        pass
    found = configured.result("cors-answered", live=live_at(url))
    assert (found.outcome, found.reason) == ("skipped", "no answer: ConnectionError")
    assert configured.result("cors-answered").reason == "the system does not run"


@pytest.mark.parametrize("public", [True, False])
def test_a_star_is_for_public_services_only(configured: Configured, public: bool) -> None:  # noqa: FBT001
    with serving({"Access-Control-Allow-Origin": "*"}) as url:
        outcome = configured.outcome("cors-answered", live=live_at(url, public=public))
    assert outcome == ("passed" if public else "failed")


@pytest.mark.parametrize(
    ("origin", "credentials", "good"),
    [
        ("https://our.app", "true", True),
        ("", "true", True),
        ("*", "true", False),
        ("null", "true", False),
        (FOREIGN, "", False),
        (FOREIGN.upper(), "", False),
    ],
)
def test_an_answer_is_judged_also_for_a_public_service(
    origin: str, credentials: str, good: bool  # noqa: FBT001
) -> None:  # fmt: skip
    headers = {"ACCESS-CONTROL-ALLOW-ORIGIN": origin}
    headers["Access-Control-Allow-Credentials"] = credentials
    assert (judge_answer(headers, FOREIGN, public=True) == "") is good


PLAIN = [
    ("http://api.example.com/x", "expected https, got http"),
    ("redis://cache.example.com:6379/0", "expected rediss"),
    ("amqp://mq.example.com", "expected amqps"),
    ("postgresql://u@db.example.com/x", "expected sslmode=verify-full"),
    ("postgresql+psycopg://u@db.example.com/x?sslmode=prefer", "expected sslmode=verify-full"),
    ("postgres://u@10.0.0.7/x?sslmode=disable", "expected sslmode=verify-full"),
    ("mysql://u@db.example.com/x", "expected TLS"),
    ("mongodb://u@db.example.com/x", "expected tls=true"),
    ("ldap://directory.example.com", "expected ldaps"),
    ("http://192.168.1.5:8080", "expected https"),
    ("http://db:80", "expected https"),
]
ENCRYPTED = [
    *("https://api.example.com", "rediss://cache.example.com", "http://127.0.0.1:1/x"),
    *("http://localhost", "http://[::1]:80/", "http://a.localhost", "redis://127.3.2.1"),
    *("postgresql://u@db.example.com/x?sslmode=verify-full", "postgres://127.0.0.1/x"),
    *("mongodb://u@db.example.com/x?tls=true", "sqlite:///x.db", "mysql://h.example/x?ssl_ca=/ca"),
]


@pytest.mark.parametrize(("url", "why"), PLAIN)
def test_a_plain_url_to_another_machine_is_found(
    configured: Configured, url: str, why: str
) -> None:
    configured.tell(SERVICE_URL=url)
    said = configured.problems("tls-urls")
    assert why in said
    assert "environment.SERVICE_URL" in said


@pytest.mark.parametrize("url", ENCRYPTED)
def test_an_encrypted_or_near_url_is_fine(configured: Configured, url: str) -> None:
    configured.tell(SERVICE_URL=url)
    assert configured.problems("tls-urls") == ""


def test_containers_of_the_same_file_are_near(configured: Configured) -> None:
    told = {"A": "http://db:80", "B": "redis://cache-alias", "C": "http://elsewhere:80"}
    networks = {"back": {"aliases": ["cache-alias"]}}
    database = {"image": "x", "networks": networks}
    configured.compose({"front": {"image": "app", "environment": told}, "db": database})
    said = configured.problems("tls-urls")
    assert "environment.C (http, elsewhere)" in said
    assert "A (http" not in said
    assert "cache-alias" not in said
    assert is_near("DB.", frozenset({"db"}))


def test_the_services_own_urls_count(configured: Configured) -> None:
    configured.environ = {"FAKE_FRONT_URL": "http://far.example.com:80"}
    assert "services.front.url (http, far.example.com)" in configured.problems("tls-urls")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NODE_TLS_REJECT_UNAUTHORIZED", "0"),
        ("PYTHONHTTPSVERIFY", "0"),
        ("GIT_SSL_NO_VERIFY", "true"),
        ("TLS_VERIFY", "false"),
        ("VERIFY_SSL", "no"),
        ("APP_SSL_VERIFY", "off"),
        ("VAULT_SKIP_VERIFY_TLS", "verify=False"),
        ("TLS_INSECURE", "1"),
        ("INSECURE_SKIP_VERIFY", "true"),
        ("PGSSLMODE", "prefer"),
        ("DATABASE_URL", "postgresql://127.0.0.1/x?sslmode=disable"),
        ("OPTIONS", "--flag --insecure"),
        ("HOOK", "curl -sk https://x"),
    ],
)
def test_verification_that_is_switched_off_is_found(
    configured: Configured, name: str, value: str
) -> None:
    configured.tell(**{name: value})
    assert f"environment.{name}: the check of certificates" in configured.problems(
        "tls-verification"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NODE_TLS_REJECT_UNAUTHORIZED", "1"),
        ("TLS_VERIFY", "true"),
        ("VERIFY_EMAIL", "false"),
        ("SKIP_TESTS", "true"),
        ("PGSSLMODE", "verify-full"),
        ("HOOK", "curl -fsS https://x | grep -k"),
    ],
)
def test_verification_that_is_on_is_fine(configured: Configured, name: str, value: str) -> None:
    configured.tell(**{name: value})
    assert configured.problems("tls-verification") == ""


def test_commands_and_files_that_switch_it_off_are_found(configured: Configured) -> None:
    (configured.folder / "scrape.yml").write_text("tls_config: {insecure_skip_verify: true}\n")
    test = ["CMD", "curl", "-kf", "https://127.0.0.1"]
    service = {"image": "app", "healthcheck": {"test": test}, "volumes": ["./scrape.yml:/x.yml"]}
    configured.compose({"front": service})
    said = configured.problems("tls-verification")
    assert "services.front.healthcheck.test" in said
    assert "scrape.yml: the check of certificates is switched off (insecure skip verify)" in said
    configured.compose({"front": {"image": "app"}})
    configured.value["runtimes"]["process"] = {
        "services": {"front": {"command": ["app", "--insecure"]}, "jobs": {"command": ["app"]}},
        "prepare": [["wget", "--no-check-certificate", "https://x"]],
    }
    said = configured.problems("tls-verification")
    assert "process.services.front.command" in said
    assert "process.prepare[0]" in said


@pytest.mark.parametrize(
    "text", ["verify: true", "curl -s https://x -o k", "--insecure-port 0", "sslmode=require", ""]
)
def test_what_only_looks_like_it_is_fine(text: str) -> None:
    assert switched_off(text) == ""
