"""Read the `security` section of a stack file, and check what its schema can't say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from security.model import NOBODY, Control, Fuzz, Security, ServiceTokens
from stack.placeholders import unknown_placeholders

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from common.documents import JsonPath

    Trouble = tuple[JsonPath, str]

PLACE_NAMES = frozenset({"state", "here", "caller"})
CLAIM_NAMES = frozenset(
    {"caller", "audience", "now", "expires", "nonce", "method", "path", "query", "body_digest"}
    | {"key_id", "raw_path"}
)
COMMAND_NAMES = frozenset({"python", "state", "here", "control", "service"})


def read_security(value: Mapping[str, Any] | None) -> Security | None:
    """The section as values; the stack schema has checked its keys."""
    if value is None:
        return None
    controls = tuple(
        Control(item["id"], item["says"], tuple(item.get("services", ())))
        for item in value["controls"]
    )
    identities = {name: dict(item) for name, item in value.get("identities", {}).items()}
    return Security(
        corpora=tuple(value["corpora"]),
        identities={**identities, NOBODY: {}},
        controls=controls,
        tokens=_tokens(value.get("service_tokens")),
        places=value.get("places", {}),
        watched=tuple(value.get("watched", ())),
        never=tuple(value.get("never", ())),
        weakened=tuple(value.get("weakened", {}).get("command", ())),
        fuzz=_fuzz(value.get("fuzz", {})),
        reports=value.get("reports", {}),
        secret_rules=value.get("secret_scan", {}).get("rules"),
        secret_baseline=value.get("secret_scan", {}).get("baseline"),
    )


def _tokens(value: Mapping[str, Any] | None) -> ServiceTokens | None:
    if value is None:
        return None
    return ServiceTokens(
        header=value["header"],
        lifetime_seconds=float(value["lifetime_seconds"]),
        claims=value["claims"],
        token_header=value.get("token_header", {}),
        private_key=value["private_key"],
    )


def _fuzz(value: Mapping[str, Any]) -> Fuzz:
    default = Fuzz()
    return Fuzz(
        document=value.get("document", default.document),
        public=tuple(value.get("public", ())),
        skip_services=tuple(value.get("skip_services", ())),
        schemes=value.get("schemes", {}),
        parameters=value.get("parameters", {}),
        bodies=value.get("bodies", {}),
    )


def security_problems(
    value: Mapping[str, Any] | None, services: Collection[str], secrets: Collection[str]
) -> Iterator[Trouble]:
    """Each place in the section that can't be right, with what was expected there.

    Args:
        value: the section, which fits its schema; None where there is none.
        services: names of the stack file.
        secrets: names of the stack file.
    """
    if value is None:
        return
    root: JsonPath = ("security",)
    names = [item["id"] for item in value["controls"]]
    for index, item in enumerate(value["controls"]):
        where: JsonPath = (*root, "controls", index)
        if item["id"] in names[:index]:
            yield where, f"the control {item['id']!r} stands twice: expected once"
        for name in item.get("services", ()):
            if name not in services:
                yield where, f"expected one of {', '.join(services)}, got {name!r}"
    for name, item in value.get("reports", {}).items():
        if item["service"] not in services:
            said = f"expected one of {', '.join(services)}, got {item['service']!r}"
            yield (*root, "reports", name), said
    for name in value.get("watched", ()):
        if name not in value.get("places", {}):
            yield (*root, "watched"), f"expected a place of `places`, got {name!r}"
    yield from _placeholder_problems(value, secrets)


def _placeholder_problems(value: Mapping[str, Any], secrets: Collection[str]) -> Iterator[Trouble]:
    named = frozenset(f"secret:{name}" for name in secrets)
    tokens = value.get("service_tokens", {})
    for part, where, known in (
        (value.get("identities"), ("identities",), named),
        (value.get("reports"), ("reports",), named),
        (value.get("places"), ("places",), PLACE_NAMES),
        (value.get("weakened"), ("weakened",), COMMAND_NAMES),
        (tokens.get("claims"), ("service_tokens", "claims"), CLAIM_NAMES),
        (tokens.get("token_header"), ("service_tokens", "token_header"), CLAIM_NAMES),
        (tokens.get("private_key"), ("service_tokens", "private_key"), PLACE_NAMES),
    ):
        for place, name in unknown_placeholders(part, known, ("security", *where)):
            expected = ", ".join(f"{{{one}}}" for one in sorted(known)) or "none"
            yield place, f"unknown placeholder {{{name}}}: expected {expected}"
