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

# Answers the keys of the machine to whoever asks from it, in all clouds but few networks.
_NEVER = tuple(map(ipaddress.ip_network, ("169.254.0.0/16", "fe80::/10", "0.0.0.0/8")))
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
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


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _carried(
    address: ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address in a mapped, translated (NAT64) or tunnelled (6to4) one, or itself."""
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _passed(address: ipaddress.IPv4Address | ipaddress.IPv6Address, *, named: bool) -> str:
    """Its text, if it may be connected to; one that carries another counts as that one."""
    meant = _carried(address) if isinstance(address, ipaddress.IPv6Address) else address
    never = any(meant.version == network.version and meant in network for network in _NEVER)
    if never or meant.is_multicast or not (named or meant.is_global):
        raise AddressRefusedError(
            "an allowed name leads to an address that is not public: where that is meant, "
            "say so in CONNECT_TO"
        )
    return str(address)
