# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "aiohttp",
#     "jsonschema",
#     "locust",
#     "pyyaml",
# ]
# ///
"""Send a part of a soak's traffic from this machine, as a worker of its Locust master.

Needs the checkout and the stack file of the soak, and in the environment the token that both
share (PROOF_PACK_WORKER_TOKEN) and the secrets that the traffic needs: none of them travels.
Serves one run and exits; everything that it measures goes to the master.

exit codes: 0 the master ended the run; 2 no master, or it fell silent; 64 bad arguments;
78 bad configuration, or the master refused; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from common.cli import (
    ConfigurationError,
    Exit,
    UsageError,
    make_parser,
    positive_float,
    positive_int,
    run,
)
from common.options import add_stack

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from stack.model import Stack

WAIT_SECONDS = 300.0
EXAMPLES = (
    "export PROOF_PACK_WORKER_TOKEN=… CLIENT_TOKEN=…",
    "python scripts/run_locust_worker.py --master-host soak.example.org",
    "python scripts/run_locust_worker.py --master-host 10.0.0.5 --url api=http://10.0.0.5:8000",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    import socket

    parser = make_parser(__doc__, EXAMPLES)
    add_stack(parser)
    add = parser.add_argument
    add("--master-host", default="127.0.0.1", metavar="HOST", help="default: this machine")
    add("--master-port", type=positive_int, default=5557, metavar="PORT", help="default: 5557")
    add(
        "--name",
        default=f"{socket.gethostname().partition('.')[0]}-{os.getpid()}",
        help="what the evidence calls this worker (default: the machine's name and a number)",
    )
    add(
        "--url",
        action="append",
        default=[],
        metavar="SERVICE=URL",
        help="where a service is, seen from here (default: as in the stack file); repeatable",
    )
    add(
        "--wait-seconds",
        type=positive_float,
        default=WAIT_SECONDS,
        metavar="S",
        help=f"how long to look for the master (default: {WAIT_SECONDS:g})",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> Exit:
    """Work until the master ends the run."""
    options = parse(argv)
    from evidence.redact import Redactor
    from stack.load import load_stack
    from traffic.engines import require_locust
    from traffic.locust_wire import token_of
    from traffic.target import Target

    require_locust(f"use `make locust-worker`, or `uv run {sys.argv[0]}`")
    token = token_of(os.environ)
    stack = load_stack(options.stack)
    if not stack.traffic:
        raise ConfigurationError(f"{stack.file.name} has no traffic: see docs/stack-file.md")
    secrets, urls = known_secrets(stack, os.environ), seen_from_here(stack, options.url)
    # Locust patches sockets and threads of the process that imports it: as late as can be.
    from traffic.locust_worker import Worker

    target = Target(urls, secrets, Redactor([*secrets.values(), token.decode()]).text)
    worker = Worker(stack, target, token, options.name, say)
    worker.serve(options.master_host, options.master_port, options.wait_seconds)
    return Exit.PASSED


def known_secrets(stack: Stack, environ: Mapping[str, str]) -> dict[str, str]:
    """The stack's secrets, which never come from the master.

    Raises:
        ConfigurationError: one that the traffic needs is not set.
    """
    from traffic.locust_wire import secret_names

    for name in secret_names(stack.traffic):
        if not environ.get(name):
            raise ConfigurationError(
                f"{name} is not set: export the value that the system was started with"
            )
    return {name: environ[name] for name in stack.secrets if environ.get(name)}


def seen_from_here(stack: Stack, given: Sequence[str]) -> dict[str, str]:
    """Where each service is; `given` are SERVICE=URL.

    Raises:
        UsageError: no such service, or no URL.
    """
    urls = {service.name: service.url for service in stack.services}
    for text in given:
        name, _, url = text.partition("=")
        if name not in urls:
            raise UsageError(f"--url {text}: expected one of {', '.join(urls)} before =")
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"--url {text}: expected http:// or https:// after =, got {url!r}")
        urls[name] = url.rstrip("/")
    return urls


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
