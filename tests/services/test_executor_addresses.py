"""Browser tool and jobs reach allowed hosts at checked addresses, and nothing else (G3c)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.executor import addresses, detour
from services.executor.fetch import Fetcher, FetchError
from services.executor.hosts import AddressRefusedError
from services.executor.policy.data import BrowserLimits
from services.executor.policy.denied import DeniedError
from services.executor.strategies import STRATEGIES
from services.executor.tools import browser

if TYPE_CHECKING:
    from collections.abc import Callable

    from service_protocols import Serve
    from starlette.requests import Request

LIMITS = BrowserLimits(size_limit_bytes=10_000, time_out_seconds=10.0)
NAME = "site.example"
METADATA = "169.254.169.254"
ANY = "0.0.0.0"  # noqa: S104 - an address to be refused


class Resolver:
    """Stands for DNS: gives each list of addresses in turn, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def look_up(self, host: str, port: int, **_kwargs: Any) -> list[Any]:
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in found]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port))
            for family, address in zip(families, found, strict=True)
        ]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Resolver]:
    def set_answers(*answers: list[str]) -> Resolver:
        resolver = Resolver(*answers)

        async def look_up(_loop: object, host: str, port: int, **kwargs: Any) -> list[Any]:
            return await resolver.look_up(host, port, **kwargs)

        monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", look_up)
        return resolver

    return set_answers


@pytest.fixture
def site(serve: Serve) -> str:
    """A site that redirects wherever its query says; `host:port`."""

    async def reply(request: Request) -> Response:
        to = request.query_params.get("to")
        return RedirectResponse(to) if to else Response(f"page of {request.headers['host']}")

    return serve(Starlette(routes=[Route("/{path:path}", reply)])).url.removeprefix("http://")


def browse(url: str, *allowed: str) -> browser.BrowserResult:
    return asyncio.run(browser.run(LIMITS, allowed, url))


# --- what the list of hosts refuses --------------------------------------------------------

OTHER_WAYS_TO_SAY_IT = [
    "http://2130706433:{port}/", "http://0x7f000001:{port}/", "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/", "http://127.1:{port}/", "http://127.0.0.1.:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/", "http://[::1]:{port}/",
    "http://localhost:{port}/", "http://LOCALHOST:{port}/", "http://0:{port}/",
    "http://127.0.0.1%00.example:{port}/", "http://127。0。0。1:{port}/", "http://①②⑦.0.0.1:{port}/",
    "http://127.0.0.1.nip.io:{port}/", "http://127.0.0.1:1/", "http://127.0.0.1/",
    "https://127.0.0.1/", "http://127.0.0.1:0{port}0/", "http://127.0.0.1:99999/",
    "http://user@127.0.0.1:{port}/", "http://user:pw@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@evil.example/", "http://evil.example#@127.0.0.1:{port}/",
    "http://evil.example\\@127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@evil.example/",
    "http:///127.0.0.1:{port}/", "http:127.0.0.1:{port}/", "//127.0.0.1:{port}/",
    "http://169.254.169.254/", "http://2852039166/", "http://0xa9fea9fe/",
    "http://[::ffff:169.254.169.254]/", "http://[fe80::1%25eth0]/", "http://metadata.google.internal/",
    "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/_x",
    "data:text/plain,x", "javascript:alert(1)", "dict://127.0.0.1:{port}/", "unix:///var/run/x",
    "http://127.0.0.1:{port}/\r\nX-Evil: 1", "http://127.0.0.1:{port}/ x", "http://", "",
]  # fmt: skip


@pytest.mark.parametrize("url", OTHER_WAYS_TO_SAY_IT)
def test_no_other_way_to_say_a_host_passes(site: str, url: str) -> None:
    """The page is there and allowed; asked for in any other way it is not fetched."""
    url = url.replace("{port}", site.partition(":")[2])
    with pytest.raises(DeniedError, match="host_not_allowed"):
        browse(url, site)


@pytest.mark.parametrize("url", ["http://{site}/", "HTTP://{site}/", "http://{site}"])
def test_the_host_on_the_list_passes(site: str, url: str) -> None:
    assert browse(url.replace("{site}", site), site).output == f"page of {site}"


@pytest.mark.parametrize(
    "to",
    [
        f"http://{METADATA}/latest/meta-data/", "http://2852039166/", "http://127.0.0.1:1/",
        "file:///etc/passwd", "ftp://127.0.0.1/", "http://user@127.0.0.1/", "//evil.example/",
        "http://[::ffff:169.254.169.254]/", "gopher://x/", "https://127.0.0.1/",
    ],
)  # fmt: skip
def test_a_redirect_elsewhere_is_denied(site: str, to: str) -> None:
    with pytest.raises(DeniedError, match="redirect_not_allowed"):
        browse(f"http://{site}/?to={to}", site)


@pytest.mark.parametrize(
    ("to", "logged"),
    [
        ("http://billing.internal:8443/x", "billing.internal:8443"),
        ("HTTP://Billing.Internal/", "billing.internal:80"),
        ("gopher-internal://x/", None),
        ("http://billing.internal:port/", None),
        ("http://[billing.internal]/", None),
        ("http://10.0.0.30/", "10.0.0.30:80"),
    ],
)
def test_a_denial_names_no_host_and_the_log_does(
    site: str, caplog: pytest.LogCaptureFixture, to: str, logged: str | None
) -> None:
    """Whoever is redirected learns nothing of the target's network; the operator does (G3b)."""
    for url, allowed in ((f"http://{site}/?to={to}", site), (to, site)):
        caplog.clear()
        try:
            said = browse(url, allowed).output
        except DeniedError as problem:
            said = str(problem)
        assert not any(part in said.lower() for part in ("internal", "10.0.0", "port", "gopher"))
        found = [vars(record)["fields"] for record in caplog.records if record.name == "services"]
        assert found == ([{"host": logged}] if logged else [])


def test_a_redirect_to_an_allowed_page_is_followed(site: str) -> None:
    assert browse(f"http://{site}/?to=/here", site).http_status == 200


# --- where an allowed name leads -----------------------------------------------------------

# IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890) with an address of each row, as
# of October 2025, and what clouds answer their machines at.
INSIDE = [
    ANY, "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255",
    "127.0.0.1", "127.8.8.8", "169.254.0.1", METADATA, "172.16.0.1", "172.31.255.255",
    "192.0.0.1", "192.0.0.8", "192.0.0.9", "192.0.0.10", "192.0.0.170", "192.0.0.171",
    "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.88.99.2", "192.168.1.1",
    "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "240.0.0.1",
    "255.255.255.255", "224.0.0.1", "239.255.255.255",
    "168.63.129.16", "192.0.0.192", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:168.63.129.16",
    f"::ffff:{METADATA}", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a83f:8110",
    "64:ff9b:1::7f00:1", "64:ff9b:1:7f00:0:100::", "64:ff9b:1::5db8:d70e", "100::1", "100:0:0:1::1",
    "2001::1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:1::1", "2001:1::2", "2001:1::3",
    "2001:2::1", "2001:3::1", "2001:4:112::1", "2001:10::1", "2001:20::1", "2001:30::1",
    "2001:db8::1", "2002:7f00:1::1", "2002:a9fe:a9fe::", "2002:5db8:d70e::1", "2620:4f:8000::1",
    "3fff::1", "3fff:fff::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0",
    "fec0::1", "feff::1", "ff02::1", "ff0e::1", "::127.0.0.1", "::93.184.215.14",
    "::ffff:0:127.0.0.1", "::ffff:0:93.184.215.14", "4000::1", "1fff::1",
]  # fmt: skip
# Right beside those, and in the spellings of a network that has NAT64 or one kind of socket.
OUTSIDE = [
    "1.0.0.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0",
    "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.31.195.255", "192.31.197.0",
    "192.52.194.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0",
    "192.175.49.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0",
    "203.0.112.255", "203.0.114.0", "223.255.255.255", "93.184.215.14",
    "2000::1", "2001:200::1", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::1",
    "2003::1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2620:4f:7fff::1", "2620:4f:8001::1",
    "2a00:1450:4001::1", "3ffe::1", "3fff:1000::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_allowed_name_that_leads_inside_is_denied(
    resolve: Callable[..., Resolver], address: str
) -> None:
    resolve([address])
    with pytest.raises(AddressRefusedError):
        asyncio.run(addresses.checked_address(NAME, 80))


def test_the_browser_says_no_more_than_that(resolve: Callable[..., Resolver]) -> None:
    resolve(["168.63.129.16"])
    with pytest.raises(DeniedError, match="address_not_public") as caught:
        browse(f"http://{NAME}/", NAME)
    assert "168.63" not in str(caught.value)


def test_one_address_inside_among_public_ones_is_enough(resolve: Callable[..., Resolver]) -> None:
    resolve(["93.184.215.14", "10.0.0.1"])
    with pytest.raises(AddressRefusedError):
        asyncio.run(addresses.checked_address(NAME, 80))


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_passes(resolve: Callable[..., Resolver], address: str) -> None:
    resolve([address])
    found = asyncio.run(addresses.checked_address(NAME, 80))
    assert ipaddress.ip_address(found) == ipaddress.ip_address(address)


@pytest.mark.parametrize("row", [*addresses._NEVER, *addresses._SPECIAL], ids=str)
def test_each_row_of_the_lists_is_missed_when_it_is_taken_away(
    monkeypatch: pytest.MonkeyPatch, row: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> None:
    """Some address of it is refused for no other reason, so that the tables above can fail."""
    named = row in addresses._NEVER
    name = "_NEVER" if named else "_SPECIAL"
    one_of_it = row[row.num_addresses // 2]
    with pytest.raises(AddressRefusedError):
        addresses._passed(one_of_it, named=named)
    rest = tuple(one for one in getattr(addresses, name) if one != row)
    monkeypatch.setattr(addresses, name, rest)
    assert addresses._passed(one_of_it, named=named) == str(one_of_it)


NEVER = [
    METADATA, ANY, "224.0.0.1", "fe80::1", "fec0::1", "::", "255.255.255.255", "168.63.129.16",
    "192.0.0.192", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254", f"::ffff:{METADATA}",
    "::ffff:168.63.129.16", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", f"::{METADATA}",
    f"::ffff:0:{METADATA}", "2002:a9fe:a9fe::1", "2001::5601:5601",
]  # fmt: skip


@pytest.mark.parametrize("literal", NEVER)
def test_some_addresses_are_refused_even_from_the_operators_list(literal: str) -> None:
    with pytest.raises(AddressRefusedError):
        asyncio.run(addresses.checked_address(literal, 80))


@pytest.mark.parametrize("literal", ["127.0.0.1", "::1", "10.0.0.1", "fd12::1", "::ffff:10.0.0.1"])
def test_an_address_inside_that_the_operator_has_listed_passes(literal: str) -> None:
    found = asyncio.run(addresses.checked_address(literal, 80))
    assert ipaddress.ip_address(found) == ipaddress.ip_address(literal)


def test_a_jobs_fetch_is_held_to_the_same(resolve: Callable[..., Resolver]) -> None:
    resolve([METADATA])

    async def fetch() -> None:
        async with Fetcher((NAME,)) as fetcher:
            await fetcher.fetch(f"http://{NAME}/", STRATEGIES["assault"])

    with pytest.raises(FetchError, match="not public"):
        asyncio.run(fetch())


def test_a_name_is_looked_up_once_and_that_address_connected_to(
    resolve: Callable[..., Resolver], site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer leads inside, and nobody asks for it."""
    port = site.partition(":")[2]
    resolver = resolve(["127.0.0.1"], [METADATA])
    monkeypatch.setattr(addresses, "_passed", lambda address, **_kwargs: str(address))
    found = browse(f"http://{NAME}:{port}/", f"{NAME}:{port}")
    assert found.output == f"page of {NAME}:{port}"
    assert resolver.asked == [NAME]


def test_without_the_check_a_rebound_name_reaches_the_inside(
    resolve: Callable[..., Resolver], site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack, with the layer switched off, and then on."""
    port = site.partition(":")[2]
    url, entry = f"http://{NAME}:{port}/", f"{NAME}:{port}"
    resolve(["127.0.0.1"])

    async def unchecked(host: str, port: int) -> str:
        found = await asyncio.get_running_loop().getaddrinfo(host, port)
        return str(found[0][4][0])

    with monkeypatch.context() as off:
        off.setattr(detour, "checked_address", unchecked)
        assert browse(url, entry).outcome == "completed"
    with pytest.raises(DeniedError, match="address_not_public"):
        browse(url, entry)


def test_without_the_list_another_way_to_say_a_host_gets_through(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cases above can fail: the list switched off, the page is fetched."""
    port = site.partition(":")[2]
    for module in ("services.executor.fetch", "services.executor.tools.browser"):
        monkeypatch.setattr(f"{module}.check_url", lambda *_: None)
    assert browse(f"http://localhost:{port}/", site).outcome == "completed"
    assert browse(f"http://user@127.0.0.1:{port}/", site).outcome == "completed"


def test_a_name_that_leads_nowhere_is_a_failure_and_no_denial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def none(*_args: Any, **_kwargs: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", none)
    result = browse(f"http://{NAME}/", NAME)
    assert (result.outcome, result.http_status) == ("failed", None)
