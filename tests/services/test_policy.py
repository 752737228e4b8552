"""The tool policy: Rego that denies whatever it does not list, and closes when in doubt (G3b)."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.executor.policy import rego
from services.executor.policy.data import parse
from services.executor.policy.denied import DeniedError
from services.executor.policy.install import SHIPPED, install
from services.executor.policy.rego import Rego, RegoError
from services.executor.policy.store import PolicyStore, compile_policy, judge
from services.executor.policy.versions import PolicyFiles, PolicyFilesError, read_version

if TYPE_CHECKING:
    from pathlib import Path

ALLOW_ALL = 'package actions\ndecision := {"allow": true, "reason": "listed"}\n'


@pytest.fixture(scope="module")
def shipped() -> Rego:
    return compile_policy(read_version(SHIPPED)).rego


def entry(body: str) -> str:
    """A policy that lists one tool and is `body` besides."""
    return f"package actions\n{body}\n"


def with_rego(text: str) -> PolicyFiles:
    """The shipped data under another policy."""
    return PolicyFiles(
        {"actions.rego": text.encode(), "tools.yaml": (SHIPPED / "tools.yaml").read_bytes()}
    )


# --- what the shipped policy says ----------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "allow", "reason"),
    [
        ({"tool": "shell", "argv": ["echo", "proof"]}, True, "listed"),
        ({"tool": "shell", "argv": ["rm", "-rf", "/"]}, False, "program_not_listed"),
        ({"tool": "shell", "argv": ["date", "-s", "now"]}, False, "arguments_not_listed"),
        ({"tool": "shell", "argv": ["ls", "a", "b"]}, False, "arguments_not_listed"),
        (
            {"tool": "shell", "argv": ["echo", "--output=/etc/passwd"]},
            False,
            "arguments_not_listed",
        ),
        ({"tool": "shell", "argv": ["echo", "a\nb"]}, False, "text_not_plain"),
        ({"tool": "shell", "argv": ["echo", "a\0b"]}, False, "text_not_plain"),
        ({"tool": "shell", "argv": ["echo", "\ud800"]}, False, "text_not_plain"),
        ({"tool": "shell", "argv": ["echo", "a" * 201]}, False, "arguments_not_listed"),
        ({"tool": "shell", "argv": ["echo", "a" * 1001]}, False, "text_not_plain"),
        ({"tool": "shell", "argv": ["echo", *["a"] * 17]}, False, "arguments_not_listed"),
        ({"tool": "shell", "argv": ["echo", "é"]}, False, "arguments_not_listed"),
        ({"tool": "shell", "argv": []}, False, "program_not_listed"),
        ({"tool": "shell"}, False, "program_not_listed"),
        ({"tool": "file", "operation": "read"}, True, "listed"),
        ({"tool": "file", "operation": "delete"}, False, "operation_not_listed"),
        ({"tool": "file"}, False, "operation_not_listed"),
        ({"tool": "browser", "scheme": "https"}, True, "listed"),
        ({"tool": "browser", "scheme": "file"}, False, "scheme_not_listed"),
        ({"tool": "python"}, False, "tool_not_listed"),
        ({"tool": "SHELL", "argv": ["echo"]}, False, "tool_not_listed"),
        ({}, False, "tool_not_listed"),
        ({"tool": None}, False, "tool_not_listed"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_the_shipped_policy_lists_what_it_lists_and_no_more(
    shipped: Rego,
    question: dict[str, Any],
    allow: bool,  # noqa: FBT001 - a case of the table
    reason: str,
) -> None:
    decision = shipped.decide({"caller": "gateway", **question})
    assert (decision.allow, decision.reason) == (allow, reason)


def test_a_tool_without_rules_is_denied() -> None:
    """The rules of a tool that is not listed are not even looked at."""
    modules = {
        name: data.decode()
        for name, data in read_version(SHIPPED).contents.items()
        if name.endswith(".rego")
    }
    bare = Rego(modules, {"rules": {}})
    for question in (
        {"tool": "shell", "argv": ["echo"]},
        {"tool": "file", "operation": "read"},
        {"tool": "browser", "scheme": "http"},
    ):
        assert bare.decide(question).reason == "tool_not_listed"


ARGUMENT = re.compile(r"[A-Za-z0-9_.,:;!?+=@/ ][A-Za-z0-9_.,:;!?+=@/ -]{0,199}")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text(max_size=8) | st.sampled_from(["-e", "a\n", "$(id)", "é", "a b"]), max_size=4)
)
def test_rego_and_python_read_the_same_text(shipped: Rego, arguments: list[str]) -> None:
    """JSON is not unescaped by regopy: where the two could differ, it is denied."""
    decision = shipped.decide({"tool": "shell", "argv": ["echo", *arguments]})
    assert decision.allow == all(ARGUMENT.fullmatch(argument) for argument in arguments)


def test_text_that_json_escapes_would_reach_rego_as_its_escape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Why such text is denied: without the check, one sign is judged as another text."""
    two = Rego(
        {"a.rego": entry('decision := {"allow": count(input.text) == 2, "reason": "x"}')}, {}
    )
    assert not two.decide({"text": "\n"}).allow
    monkeypatch.setattr(rego, "judged_as_it_is", lambda _question: True)
    assert two.decide({"text": "\n"}).allow


# --- it fails closed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "",
        "allow := true",
        "decision := true",
        'decision := "allow"',
        'decision := {"allow": 1, "reason": "listed"}',
        'decision := {"allow": "true", "reason": "listed"}',
        'decision := {"allow": true}',
        'decision := {"allow": true, "reason": ""}',
        'decision := {"allow": true, "reason": "Not a word"}',
        'decision := {"allow": true, "reason": "listed", "use": 1}',
        'decision := {"allow": true, "reason": "listed", "more": 1}',
        'decision := {"allow": true, "reason": "listed"} if input.tool == "other"',
        'decision := {"allow": true, "reason": "a"}\ndecision := {"allow": true, "reason": "b"}',
        'decision := {"allow": true, "reason": "listed"} if to_number(input.tool) == 1',
        'decision := {"allow": true, "reason": "x"} if not bad\nbad if to_number(input.tool) == 1',
        'decision := {"allow": true, "reason": "listed"} if regex.match("(", input.tool)',
        'decision := {"allow": true, "reason": "x"} if not bad\nbad if nope.nope(input.tool)',
        'decision := {"allow": true, "reason": "x"} if not bad\nbad if http.send({"url": "x"})',
        'decision := {"allow": true, "reason": "listed"} if {',
        "import nowhere.at.all",
    ],
)
def test_whatever_is_not_exactly_true_is_denied(body: str) -> None:
    """Undefined, an error, a wrong type, two answers, a syntax error: none of them allows."""
    try:
        policy = Rego({"actions.rego": entry(body)}, {})
        assert not policy.decide({"tool": "shell", "argv": ["echo"]}).allow
    except RegoError:
        return
    pytest.fail("expected RegoError: only an answer in the agreed form is an answer")


def test_the_form_that_those_policies_miss_does_allow() -> None:
    policy = Rego({"actions.rego": ALLOW_ALL}, {})
    assert policy.decide({"tool": "shell"}).allow


def test_a_failing_built_in_would_allow_without_strict_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Why errors are strict: `not` turns the undefined into true."""
    body = (
        'decision := {"allow": true, "reason": "x"} if not bad\nbad if to_number(input.tool) == 1'
    )
    real = rego._interpreter

    def lenient() -> Any:
        made = real()
        made.strict_built_in_errors = False
        return made

    with pytest.raises(RegoError):
        Rego({"a.rego": entry(body)}, {}).decide({"tool": "shell"})
    monkeypatch.setattr(rego, "_interpreter", lenient)
    assert Rego({"a.rego": entry(body)}, {}).decide({"tool": "shell"}).allow


def test_a_policy_that_allows_a_tool_that_is_none_is_broken() -> None:
    with pytest.raises(RegoError, match="doesn't exist"):
        compile_policy(with_rego(ALLOW_ALL))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"version: 1", b"version: 2"),
        (b"version: 1", b"version: '1'"),
        (b"version: 1", b"version: 1\nversion: 1"),
        (b"version: 1", b"version: 1\nunknown: {}"),
        (b"version: 1", b"version: !!python/object/apply:os.system [id]"),
        (b"rules:", b"rules: ["),
        (b"operations: [read, write, list]", b"operations: [delete]"),
        (b"size_limit_bytes: 1048576", b"size_limit_bytes: 0"),
        (b"{exactly: ['-u']}", b"{exactly: ['-u'], file: true}"),
        (b"{exactly: ['-u']}", b"{}"),
        (b"{exactly: ['-u']}", b"{each: '[a-z]+'}"),
        (b"{exactly: ['-u']}", b"{each: {first: 'z-a', then: a, longest: 9}}"),
        (b"{exactly: ['-u']}", b"{each: {first: 'a]|.*', then: a, longest: 9}}"),
        (b"{exactly: ['-u']}", b"{each: {first: '^a', then: a, longest: 9}}"),
        (b"{exactly: ['-u']}", b"{each: {first: a, then: '[:alpha:]', longest: 9}}"),
        (b"{exactly: ['-u']}", b"{each: {first: a, then: a, longest: 9999}}"),
        (b"{exactly: ['-u']}", b"{exactly: ['a\\nb']}"),  # Rego would see another text
        (b"processes: 0", b"processes: -1"),
        (b"version: 1", b"\x00"),
    ],
)
def test_broken_data_are_refused(old: bytes, new: bytes) -> None:
    files = dict(read_version(SHIPPED).contents)
    assert old in files["tools.yaml"]
    files["tools.yaml"] = files["tools.yaml"].replace(old, new, 1)
    with pytest.raises((ValueError, RegoError)):
        compile_policy(PolicyFiles(files))


def test_the_shipped_data_are_valid() -> None:
    rules = parse((SHIPPED / "tools.yaml").read_bytes()).rules
    assert rules.shell is not None
    assert {entry.program for entry in rules.shell.commands} == {
        "echo", "date", "uname", "ls", "cat",
    }  # fmt: skip


def test_a_policy_that_fails_in_business_denies(tmp_path: Path) -> None:
    """It compiles, and it stands the questions that are asked at first; then it fails."""
    text = (
        "package actions\n"
        'default decision := {"allow": false, "reason": "no"}\n'
        'decision := {"allow": true, "reason": "x"} if { input.argv[1] == "now"; not bad }\n'
        "bad if to_number(input.argv[1]) == 1\n"
    )
    loaded = compile_policy(with_rego(text))
    with pytest.raises(DeniedError, match="policy_error"):
        judge(loaded, {"tool": "shell", "argv": ["echo", "now"]})
    assert str(tmp_path) not in text


def test_install_refuses_a_broken_policy_and_changes_nothing(tmp_path: Path) -> None:
    folder, broken = tmp_path / "policies", shutil.copytree(SHIPPED, tmp_path / "broken")
    before = install(SHIPPED, folder)
    (broken / "shell.rego").write_text("package actions.shell\nallow if {", encoding="ascii")
    with pytest.raises(PolicyFilesError, match="nothing was changed"):
        install(broken, folder)
    assert PolicyStore(folder).current().sha256 == before
