"""TLS: nothing leaves the machine in plain text, and no certificate goes unchecked (K1)."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from common.cli import ConfigurationError
from common.documents import read_text
from configuration.model import Check, Row
from configuration.settings import URL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from urllib.parse import SplitResult

    from configuration.model import Subject

# Scheme in plain text: the one to use instead.
_PLAIN = {
    "http": "https", "ws": "wss", "ftp": "ftps", "redis": "rediss", "amqp": "amqps",
    "mqtt": "mqtts", "ldap": "ldaps", "smtp": "smtps", "imap": "imaps", "nats": "tls",
    "tcp": "tls", "telnet": "ssh", "memcached": "a tunnel", "kafka": "kafka+ssl",
}  # fmt: skip
_POSTGRES = frozenset({"postgres", "postgresql"})
_GOOD_SSLMODES = frozenset({"require", "verify-ca", "verify-full"})
_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off", "none"})
# Variables that switch verification off where they are false, or where they are true.
_VERIFIES = re.compile(
    r"^NODE_TLS_REJECT_UNAUTHORIZED$|^PYTHONHTTPSVERIFY$|"
    r"(?:TLS|SSL|CERT\w*|HTTPS)_?VERIFY(?:_?PEER|_?HOST)?$|VERIFY_?(?:TLS|SSL|CERT\w*|PEER|HTTPS)$|"
    r"REJECT_UNAUTHORIZED$|STRICT_SSL$",
    re.IGNORECASE,
)
_SKIPS = re.compile(
    r"^GIT_SSL_NO_VERIFY$|(?:SKIP|NO|DISABLE)_?(?:TLS_?|SSL_?|CERT\w*?_?)VERIF|"
    r"(?:TLS|SSL)_?(?:SKIP_?VERIFY|INSECURE|NO_?VERIFY)|INSECURE_?(?:TLS|SSL|SKIP_?VERIFY)|"
    r"^CURL_INSECURE$|ALLOW_INSECURE",
    re.IGNORECASE,
)
# The same in command lines, URLs and configuration files; what stands there is not shown.
_SWITCHED_OFF = {
    "sslmode without encryption for sure": re.compile(
        r"\bsslmode\s*[=:]\s*['\"]?(?:disable|allow|prefer)\b"
    ),
    "verify=false": re.compile(
        r"\b(?:ssl_?verify|verify_?ssl|tls_?verify|verify_?tls|verify|strict_ssl)"
        r"\s*[=:]\s*['\"]?(?:false|0|no|none|off)\b",
        re.IGNORECASE,
    ),
    "insecure skip verify": re.compile(
        r"\binsecure_?skip_?verify['\"]?\s*[=:]\s*['\"]?true\b", re.IGNORECASE
    ),
    "tlsInsecure": re.compile(r"\b(?:tlsInsecure|tlsAllowInvalid\w+)\s*[=:]\s*true\b"),
    "rejectUnauthorized: false": re.compile(r"\brejectUnauthorized['\"]?\s*[=:]\s*false\b"),
    "--insecure": re.compile(
        r"(?<!\S)--(?:insecure|no-check-certificate|tls-skip-verify)(?![\w-])"
    ),
    "curl -k": re.compile(r"\bcurl\b[^|;&]*?\s-[a-jl-zA-Z]*k[a-zA-Z]*(?=\s|$)"),
    "a variable": re.compile(
        r"\b(?:NODE_TLS_REJECT_UNAUTHORIZED|PYTHONHTTPSVERIFY)=['\"]?0\b"
        r"|\bGIT_SSL_NO_VERIFY=['\"]?(?:1|true)\b"
    ),
}  # fmt: skip
_PGSSLMODE = re.compile(r"^(?:PG|DB_|DATABASE_|POSTGRES_)?SSL_?MODE$", re.IGNORECASE)


def tls_urls(subject: Subject) -> Iterator[Row]:
    """Every URL to another machine is encrypted."""
    internal = subject.compose.names() if subject.compose else frozenset()
    for place, text in _texts_with_urls(subject):
        for url in URL.findall(text):
            try:
                parts = urlsplit(url)
                host = parts.hostname or ""
            except ValueError:
                yield Row(place, "expected a URL, got something else: correct it")
                continue
            if host:
                near = is_near(host, internal)
                yield Row(f"{place} ({parts.scheme}, {host})", "" if near else _plain(parts))


def tls_verification(subject: Subject) -> Iterator[Row]:
    """Nobody switches the check of certificates off."""
    for item in subject.settings:
        value = item.value.strip().lower()
        wrong = (
            (_VERIFIES.search(item.name) and value in _NO)
            or (_SKIPS.search(item.name) and value in _YES)
            or (_PGSSLMODE.search(item.name) and value in {"disable", "allow", "prefer"})
        )
        kind = item.name if wrong else switched_off(item.value)
        yield Row(item.place, _off(kind) if kind else "")
    for place, text in _commands(subject):
        kind = switched_off(text)
        yield Row(place, _off(kind) if kind else "")
    for path in subject.files:
        try:
            kind = switched_off(read_text(path))
        except ConfigurationError as problem:
            yield Row(subject.place_of(path), f"{problem}: make it readable")
        else:
            yield Row(subject.place_of(path), _off(kind) if kind else "")


def switched_off(text: str) -> str:
    """How a text switches verification off; "" where it does not."""
    return next((kind for kind, pattern in _SWITCHED_OFF.items() if pattern.search(text)), "")


def is_near(host: str, internal: frozenset[str]) -> bool:
    """Whether a host is this machine, or a container beside the one that asks."""
    name = host.strip("[]").rstrip(".").lower()
    near = {"localhost", "host.docker.internal", *map(str.lower, internal)}
    if name in near or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _plain(parts: SplitResult) -> str:
    """What is wrong with a URL to another machine."""
    scheme = parts.scheme.lower().partition("+")[0]
    query = {key.lower(): values[-1].lower() for key, values in parse_qs(parts.query).items()}
    if scheme in _POSTGRES and query.get("sslmode") not in _GOOD_SSLMODES:
        return "expected sslmode=verify-full (or verify-ca, require): add it to the URL"
    if scheme in {"mysql", "mariadb"} and not (
        {"ssl", "ssl_ca", "ssl-mode", "sslmode"} & query.keys()
    ):
        return "expected TLS (ssl-mode=VERIFY_IDENTITY): add it to the URL"
    if scheme == "mongodb" and "true" not in {query.get("tls"), query.get("ssl")}:
        return "expected tls=true: add it to the URL"
    if scheme in _PLAIN:
        return f"expected {_PLAIN[scheme]}, got {scheme} to another machine: use TLS"
    return ""


def _off(kind: str) -> str:
    return f"the check of certificates is switched off ({kind}): give the right CA instead"


def _texts_with_urls(subject: Subject) -> Iterator[tuple[str, str]]:
    name = subject.stack.file.name
    for service in subject.stack.services:
        yield f"{name}: services.{service.name}.url", service.url
    for store, places in subject.stack.stores.items():
        for runtime in subject.runtimes:
            if runtime in places:
                yield f"{name}: stores.{store}.{runtime}", places[runtime].location
    for item in subject.settings:
        yield item.place, item.value


def _commands(subject: Subject) -> Iterator[tuple[str, str]]:
    plan = subject.stack.process
    if plan and "process" in subject.runtimes:
        name = f"{subject.stack.file.name}: runtimes.process"
        for number, command in enumerate(plan.prepare):
            yield f"{name}.prepare[{number}]", " ".join(command)
        for service, entry in plan.services.items():
            yield f"{name}.services.{service}.command", " ".join(entry.command)
    if subject.compose:
        for service in subject.compose.services:
            for key, text in subject.compose.texts(service):
                yield f"{subject.compose.path.name}: services.{service}.{key}", text


CHECKS = (
    Check("tls-urls", "K1", tls_urls, "no URL is known"),
    Check("tls-verification", "K1", tls_verification, "nothing is told to anything"),
)
