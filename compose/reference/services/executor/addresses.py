"""Where an allowed name may really lead: to public addresses, looked up once (G3c).

A name on ALLOWED_HOSTS says nothing about the address that its owner's DNS gives today. So it
is looked up here, every address is checked, and the connection goes to the checked one: a
second answer (DNS rebinding) is never asked for. An address that stands in ALLOWED_HOSTS
itself, `localhost` there, and the right side of CONNECT_TO are the operator's own word.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from services.executor.hosts import AddressRefusedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def _networks(*texts: str) -> _Networks:
    return tuple(map(ipaddress.ip_network, texts))


# Not even the operator's list may name these: what hands out a machine's keys to whoever asks
# from it (of which some clouds have it outside of the link-local network), and what is no
# single host.
_NEVER = _networks(
    *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
    *("168.63.129.16/32", "192.0.0.192/32", "100.100.100.200/32"),  # Azure, Oracle, Alibaba
    *("fe80::/10", "fec0::/10", "ff00::/8"),
    *("fd00:ec2::/32", "fd20:ce::254/128"),  # Amazon, Google
)
# The rest of IANA's special-purpose registries (RFC 6890), also what is called globally
# reachable there: relays and sinks, and no site. Listed here, because Python's `is_global`
# says another thing in each version.
_SPECIAL = _networks(
    *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
    *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
)
# All of IPv6 that hosts of others are in; whatever is not in it is refused unseen.
_UNICAST = ipaddress.ip_network("2000::/3")
# Other ways to write an IPv4 address, under which a network with IPv6 alone sees public sites
# (mapped; NAT64 of RFC 6052): as public as what they carry.
_SPELLINGS = _networks("::ffff:0:0/96", "64:ff9b::/96")
# Carry one, too, and are never public: compatible, translated, NAT64 for local use.
_CARRIERS = (*_SPELLINGS, *_networks("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48"))
_LOOPBACK = ipaddress.ip_address("::1")
_LOOPBACK_NAME = "localhost"


async def checked_address(host: str, port: int) -> str:
    """The address to connect to.

    Raises:
        AddressRefusedError: the name leads, or may lead, to an address that isn't public.
        OSError: it leads nowhere.
    """
    literal = _literal(host)
    if literal is not None:
        return _passed(literal, named=True)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    if not addresses:
        raise OSError("the name has no address")
    named = host == _LOOPBACK_NAME
    passed = [_passed(ipaddress.ip_address(address), named=named) for address in addresses]
    return passed[0]


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _within(address: Address, networks: _Networks) -> bool:
    return any(address.version == one.version and address in one for one in networks)


def _carried(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address) or address == _LOOPBACK:
        return address
    if address.teredo:
        return address.teredo[1]
    if _within(address, _CARRIERS):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address


def _is_public(address: Address) -> bool:
    if _within(address, _SPELLINGS):
        address = _carried(address)
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    return not _within(address, _SPECIAL)


def _passed(address: Address, *, named: bool) -> str:
    """Its text, if it may be connected to; `named`: the operator has listed this very one."""
    never = _within(address, _NEVER) or _within(_carried(address), _NEVER)
    if never or not (named or _is_public(address)):
        raise AddressRefusedError(
            "an allowed name leads to an address that is not public: where that is meant, "
            "say so in CONNECT_TO"
        )
    return str(address)
