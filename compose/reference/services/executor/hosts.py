"""Which hosts may be fetched: the operator's list, checked before every request.

A refusal names no host: after a redirect it may be one that only the target's own network
knows. The log has it, for the operator who is asked to add it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from services.kit.logs import warn

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_URL = 2048
_LONGEST_LOGGED = 100
_DEFAULT_PORTS = {"http": 80, "https": 443}


class HostRefusedError(Exception):
    """A URL that is not to be fetched: "what is wrong: what to do"."""


class AddressRefusedError(HostRefusedError):
    """A name on the list that leads to an address that is not public."""


def check_url(url: str, allowed_hosts: Sequence[str]) -> None:
    """Let a URL pass, or refuse it.

    An entry `host` allows the scheme's own port only; `host:port` that port only.

    Raises:
        HostRefusedError: not http(s), with a user name, or not on the list.
    """
    if len(url) > LONGEST_URL or any(character <= " " or character == "\\" for character in url):
        raise HostRefusedError("expected a URL without spaces and backslashes, got another")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as problem:
        raise HostRefusedError("expected a URL, got a broken one") from problem
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise HostRefusedError("expected an http or https URL, got another")
    if parts.username is not None or parts.password is not None:
        raise HostRefusedError("expected a URL without user name and password: take them out")
    wanted = host if port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{host}:{port}"
    full = f"{host}:{port or _DEFAULT_PORTS[parts.scheme]}"
    if wanted not in allowed_hosts and full not in allowed_hosts:
        warn("host refused", host=full[:_LONGEST_LOGGED])
        raise HostRefusedError(
            "not an allowed host: the executor's log names it, ALLOWED_HOSTS allows it"
        )
