"""Where traffic goes: the addresses and secrets of a running system."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.cli import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stack.model import Stack
    from stack.runtime import Runtime


@dataclass(frozen=True)
class Target:
    """A running system.

    Args:
        urls: service name to base URL, without a final slash.
        secrets: values of the stack's secrets, for headers; never for evidence.
        clean: takes secrets out of a text, before it is cut to fit an error line.
    """

    urls: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    clean: Callable[[str], str] = str


def target_of(runtime: Runtime, clean: Callable[[str], str] = str) -> Target:
    """The system that a runtime has started, or the one that somebody else did.

    Raises:
        ConfigurationError: traffic would leave for the stack file's address of a service
            although the system that is proven runs elsewhere.
    """
    check_addresses(runtime.stack)
    urls = {service.name: service.url for service in runtime.stack.services}
    return Target(urls, runtime.secrets, clean)


def check_addresses(stack: Stack) -> None:
    """Where the system already runs elsewhere: is it told where all traffic goes (P8)?

    Raises:
        ConfigurationError: a service that gets traffic still has the stack file's address,
            where another system may answer.
    """
    if not stack.service(stack.workload.service).overridden:
        return
    for service in (stack.service(profile.service) for profile in stack.traffic):
        if not service.overridden:
            helps = f"set {service.url_env}" if service.url_env else "give it a url_env"
            raise ConfigurationError(
                f"{stack.file}: expected the address of {service.name}, which gets traffic, as the "
                f"system is one that already runs; got only the file's own {service.url}: {helps}"
            )
