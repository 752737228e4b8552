"""Read corpora: rows merged with their templates, and what a schema can't say about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from common.cli import ConfigurationError
from common.documents import read_yaml
from common.schema import check
from security.model import Case
from stack.placeholders import unknown_placeholders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from common.documents import Document
    from security.model import Security
    from stack.model import Stack

CASE_NAMES = frozenset(
    {"marker", "number", "canary", "listener", "listener_port", "host", "payload", "bulk", "token"}
)
_PARTS = ("attack", "twin", "given", "then", "plant", "expect", "payload")


def load_corpora(stack: Stack) -> tuple[Case, ...]:
    """Every case of a stack's corpora, in the order of the files.

    Raises:
        ConfigurationError: no `security` section, a broken file, a control or service that
            there is not, an id that stands twice, a case that can't be vacuous and does not
            say why.
    """
    if stack.security is None:
        raise ConfigurationError(
            f"{stack.file}: expected the section security, got none: docs/security-probe.md"
        )
    found: dict[str, Case] = {}
    for name in stack.security.corpora:
        document = read_yaml(stack.here / name)
        check(document, "security_corpus")
        for index, row in enumerate(document.value["cases"]):
            case = _case(document, index, row)
            _check(document, index, case, stack)
            if case.id in found:
                _refuse(document, index, f"the case {case.id!r} stands twice: expected once")
            found[case.id] = case
    return tuple(found.values())


def merge(base: Any, change: Any) -> Any:  # noqa: ANN401 - the JSON edge
    """`change` over `base`: mappings member by member, everything else as a whole."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    merged = dict(base)
    for key, value in change.items():
        merged[key] = merge(base.get(key), value)
    return merged


def settled(value: Any) -> Any:  # noqa: ANN401 - the JSON edge
    """Without the members that a row has taken away by null; a token keeps its own nulls."""
    if isinstance(value, list):
        return [settled(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item if key == "token" else settled(item)
        for key, item in value.items()
        if item is not None
    }


def twin_of(case: Case) -> dict[str, Any]:
    """The same request without what makes it an attack; its token is a whole new one."""
    twin = case.twin or {}
    found = merge(dict(case.attack), dict(twin))
    if "token" in twin:
        found["token"] = twin["token"]
    for key in ("copies", "times", "restart", "hold"):
        if key not in twin:
            found.pop(key, None)
    settled_twin: dict[str, Any] = settled(found)
    return settled_twin


def _refuse(document: Document, index: int, message: str) -> NoReturn:
    line = document.line_of(("cases", index))
    raise ConfigurationError(f"{document.path}:{line}: cases[{index}]: {message}")


def _case(document: Document, index: int, row: Mapping[str, Any]) -> Case:
    corpus = document.value
    whole: dict[str, Any] = dict(row)
    if name := row.get("template"):
        if name not in corpus.get("templates", {}):
            _refuse(document, index, f"expected a template of this file, got {name!r}")
        whole = merge(corpus["templates"][name], whole)
    if missing := [
        key for key in ("id", "control", "source", "says", "attack") if key not in whole
    ]:
        _refuse(document, index, f"expected the key {missing[0]!r}, in the row or its template")
    bulk = whole.get("bulk", {"text": "", "times": 0})
    return Case(
        id=whole["id"],
        family=corpus["family"],
        evidence=corpus["evidence"],
        control=whole["control"],
        source=whole["source"],
        says=whole["says"],
        attack=settled(whole["attack"]),
        expect=settled(whole.get("expect", {})),
        payload=whole.get("payload"),
        bulk=bulk["text"] * bulk["times"],
        twin=whole.get("twin"),
        no_twin=whole.get("no_twin"),
        given=tuple(whole.get("given", ())),
        plant=tuple(whole.get("plant", ())),
        then=tuple(whole.get("then", ())),
        no_effect=whole.get("no_effect"),
    )


def _check(document: Document, index: int, case: Case, stack: Stack) -> None:
    security = stack.security
    assert security is not None  # noqa: S101 - load_corpora has refused that
    controls = [item.id for item in security.controls]
    if case.control not in controls:
        known = ", ".join(controls)
        _refuse(document, index, f"control: expected one of {known}, got {case.control!r}")
    if (case.twin is None) == (case.no_twin is None):
        _refuse(document, index, f"{case.id}: expected either twin or no_twin")
    if "status" not in case.expect:
        _refuse(document, index, f"{case.id}: expected the key 'status' in expect")
    services = [item.name for item in stack.services]
    for request in requests_of(case):
        if request.get("service") not in services:
            got = request.get("service")
            _refuse(document, index, f"service: expected one of {', '.join(services)}, got {got!r}")
        if request.get("as", "nobody") not in security.identities:
            _refuse(document, index, f"as: no identity {request['as']!r} in the stack file")
        if request.get("token") and security.tokens is None:
            _refuse(document, index, "token: expected security.service_tokens in the stack file")
        if request.get("token") and "caller" not in request["token"]:
            _refuse(document, index, "token: expected the key 'caller'")
    _check_placeholders(document, index, case, security, stack)


def requests_of(case: Case) -> Iterator[Mapping[str, Any]]:
    """Every request of a case, merged as it is sent."""
    yield case.attack
    if case.twin is not None:
        yield twin_of(case)
    yield from case.given
    yield from (follow_up(case, request) for request in case.then)
    if meanwhile := case.expect.get("meanwhile"):
        yield meanwhile


def follow_up(case: Case, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A request of `then`; with `again` it is the attack with changes."""
    if not request.get("again"):
        return request
    base = {key: value for key, value in case.attack.items() if key not in {"copies", "times"}}
    found: Mapping[str, Any] = settled(merge(base, dict(request)))
    return found


def _check_placeholders(
    document: Document, index: int, case: Case, security: Security, stack: Stack
) -> None:
    captured = {
        f"capture:{name}" for request in requests_of(case) for name in request.get("capture", {})
    }
    known = CASE_NAMES | captured | {f"secret:{name}" for name in stack.secrets}
    known |= {f"place:{name}" for name in security.places}
    for part in _PARTS:
        for _, name in unknown_placeholders(_plain(getattr(case, part)), known):
            expected = ", ".join(f"{{{one}}}" for one in sorted(known))
            _refuse(document, index, f"unknown placeholder {{{name}}}: expected {expected}")


def _plain(value: Any) -> Any:  # noqa: ANN401 - the JSON edge
    return list(value) if isinstance(value, tuple) else value
