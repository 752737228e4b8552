"""Required variables, URL variables, placeholders (K1): broken and good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.configuration import OTHER, STRONG
from hypothesis import given
from hypothesis import strategies as st

from common.cli import ConfigurationError
from configuration.checks.variables import placeholder_kind
from configuration.env_files import read_env_file
from configuration.variables import fill, references, unset

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.configuration import Configured


def test_every_missing_variable_is_listed_at_once(configured: Configured) -> None:
    configured.value["required_env"] = ["ONE", "TWO", "THREE", "FOUR"]
    configured.environ = {"TWO": "", "THREE": "  ", "FOUR": "set"}
    said = configured.problems("required-variables")
    assert "ONE is not set" in said
    assert "TWO is not set" in said
    assert "THREE is blank" in said
    assert "FOUR" not in said
    configured.environ = dict.fromkeys(("ONE", "TWO", "THREE"), "a value")
    assert "FOUR is not set" in configured.problems("required-variables")


def test_an_env_file_sets_required_variables_and_the_environment_wins(
    configured: Configured,
) -> None:
    configured.value["required_env"] = ["ONE"]
    assert configured.outcome("required-variables") == "failed"
    configured.env_file("ONE=from the file\n")
    assert configured.outcome("required-variables") == "passed"
    configured.environ = {"ONE": "  "}
    assert configured.outcome("required-variables") == "failed"


def test_a_stack_that_requires_nothing_is_skipped_with_a_reason(configured: Configured) -> None:
    found = configured.result("required-variables")
    assert (found.outcome, found.reason) == ("skipped", "the stack file requires no variable")


def test_a_url_variable_that_is_no_url_is_a_finding_not_the_end(configured: Configured) -> None:
    assert configured.outcome("service-urls") == "passed"
    configured.environ = {"FAKE_FRONT_URL": "nowhere"}
    assert configured.problems("service-urls").startswith("FAKE_FRONT_URL: expected an http")
    assert configured.outcome("secret-length") == "passed"


PLACEHOLDERS = [
    *("changeme", "CHANGE_ME", "please change-this", "change-it"),
    *("your-api-key-here", "your_token", "<your password>", "insert-your-key-here"),
    *("my-secret-key",),
    *("<password>", "<put the token here>", "TODO", "TODO: ask ops", "FIXME", "tbd TBD"),
    *("REPLACE_ME".lower(), "placeholder", "example", "example-key", "sample_value", "dummy"),
    *("xxxx", "sk-xxxxxxxx", "XXXXXXXXXXXX", "****", "...", "----"),
    *("${DATABASE_PASSWORD}", "${X:-}", "%TOKEN%", "@TOKEN@"),
]  # fmt: skip
REAL = [
    *("127.0.0.1:7060,example.com,httpbin.org", "https://example.com/path", "postgres", "true"),
    *(STRONG, "a,b,c", "your", "todo-service", "{here}/x", "1", "exchange-method", "fixtures"),
    *("x", "max", "0xxffee", "a.example.org", "hello there", "https://todo.internal/list"),
]  # fmt: skip


@pytest.mark.parametrize("value", PLACEHOLDERS)
def test_a_placeholder_is_found(value: str) -> None:
    assert placeholder_kind(value)


@pytest.mark.parametrize("value", REAL)
def test_a_real_value_is_none(value: str) -> None:
    assert placeholder_kind(value) == ""


def test_a_secret_may_not_even_speak_of_an_example() -> None:
    assert placeholder_kind(f"{STRONG}-example", secret=True) == "example"
    assert placeholder_kind(f"{STRONG}-example") == ""


def test_placeholders_are_found_where_services_are_told_them(configured: Configured) -> None:
    configured.tell(REGION="eu-1")
    assert configured.outcome("placeholders") == "passed"
    configured.tell(REGION="<region>", OTHER_ONE="{{ region }}")
    configured.env_file("A=fine\nAPI_HOST=your-host-here\n")
    said = configured.problems("placeholders")
    assert "runtimes.process.environment.REGION: a placeholder (<…>) was left" in said
    assert "OTHER_ONE: a placeholder (template)" in said
    assert "settings.env:2: API_HOST" in said
    assert "settings.env:1" not in said


def test_a_compose_variable_that_nothing_sets_is_found(configured: Configured) -> None:
    service = {"image": "app", "environment": {"MODE": "${MODE}", "FINE": "${FINE:-yes}"}}
    configured.compose({"front": service})
    said = configured.problems("placeholders")
    assert "services.front.environment.MODE: ${MODE} is set nowhere" in said
    assert "FINE" not in said
    configured.environ = {"MODE": "fast"}
    assert configured.outcome("placeholders") == "passed"


def test_configuration_files_that_a_container_mounts_are_read(configured: Configured) -> None:
    (configured.folder / "conf").mkdir()
    file = configured.folder / "conf" / "server.yaml"
    mounted = {"image": "app", "volumes": ["./conf:/etc/app:ro", "data:/data"]}
    configured.compose({"front": mounted})
    file.write_text("# password: changeme\nlegend: '{{service}}'\nhost: db # TODO move\n")
    assert configured.outcome("placeholders") == "passed"
    file.write_text('name: app\n"password": "changeme",\nurl = "${PUBLIC_URL}"\n')
    said = configured.problems("placeholders")
    assert "conf/server.yaml:2: password" in said
    assert "conf/server.yaml:3: url" in said
    file.write_bytes(b"\xff\xfe")
    assert "expected UTF-8" in configured.problems("placeholders")


def test_an_env_file_is_read_as_compose_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text(
        "\ufeff# a comment\nexport A=one\nB = 'lit $A'\nC=\"with $A\" # said\nD=x#y # z\nE=\nF\n",
        "utf-8",
    )
    found = read_env_file(path)
    wanted = {"A": "one", "B": "lit $A", "C": "with one", "D": "x#y", "E": ""}
    assert found.values({}) == wanted
    assert [entry.line for entry in found.entries] == [2, 3, 4, 5, 6]
    path.write_text("A=fine\nnot an assignment\n")
    with pytest.raises(ConfigurationError, match=r"x\.env:2: expected NAME=value"):
        read_env_file(path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$A/${A}", "one/one"),
        ("${B:-two}", "two"),
        ("${E:-two}", "two"),
        ("${E-two}", ""),
        ("${B:-${A}}", "one"),
        ("${A:+yes}${B+no}", "yes"),
        ("$$A $", "$A $"),
        ("${B?message}", ""),
        ("${not closed", "${not closed"),
        ("${}", "${}"),
    ],
)
def test_references_are_filled_as_compose_fills_them(text: str, wanted: str) -> None:
    assert fill(text, {"A": "one", "E": ""}) == wanted


def test_what_nothing_sets_is_named() -> None:
    assert unset("${A} ${B} ${C:-x} ${D:-${E}}", {"A": "1"}) == ["B", "E"]


@given(text=st.text(alphabet="${}:-?+AB x", max_size=40))
def test_any_text_is_read_to_its_end(text: str) -> None:
    filled = fill(text, {"A": OTHER})
    assert references(text) or "$" in text or filled == text
