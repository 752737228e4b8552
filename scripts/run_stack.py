# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cryptography",
#     "docker",
#     "filelock",
#     "jsonschema",
#     "packaging",
#     "platformdirs",
#     "psutil",
#     "pyyaml",
#     "requests",
# ]
# ///
"""Run a stack in the foreground until Ctrl-C, then stop it and leave nothing.

Prints where each service answers. While it runs, `CONTROL_PLANE_URL=… run_proof_pack.py`
in another terminal proves it as it is.
"""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from common import log
from common.cli import Exit, ScriptError, make_parser, run, uninterrupted
from common.options import add_stack

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from stack.runtime import Runtime, Started

EXAMPLES = (
    "python scripts/run_stack.py",
    "python scripts/run_stack.py --stack my/stack.yaml",
)
LOOK_SECONDS = 0.5


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add_stack(parser)
    parser.add_argument("--runtime", help="a runtime of the stack file (default: its first)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> Exit:
    """Run until interrupted; exit 1 when a service ends by itself."""
    options = parse(argv)
    from stack import records
    from stack.load import load_stack
    from stack.runtime import open_runtime

    for line in records.sweep():
        log.warn(f"left by a killed run: {line}")
    # The URL variables point other scripts at this stack; here they must not.
    stack = load_stack(options.stack, {})
    runtime = open_runtime(stack, options.runtime)
    try:
        runtime.prepare()
        show(runtime, runtime.start(), stack.file)
        watch(runtime)
    finally:
        with uninterrupted():
            for line in runtime.stop() or ():
                log.warn(line)
            runtime.close()
    return Exit.PASSED


def show(runtime: Runtime, started: Sequence[Started], stack_file: Path) -> None:
    """Print where each service answers, and how to prove the running stack."""
    urls = {service.name: service.url for service in runtime.services}
    for item in started:
        print(f"{item.name:16} {urls[item.name]:28} ready after {item.ready_seconds or 0:.2f} s")
    print("Ctrl-C stops it. To prove it as it runs, in another terminal:")
    for service in runtime.services:
        if service.url_env:
            print(f"  export {service.url_env}={service.url}")
    script = Path(__file__).with_name("run_proof_pack.py")
    print(f"  {shlex.join([sys.executable, str(script), '--stack', str(stack_file)])}", flush=True)


def watch(runtime: Runtime) -> None:
    """Wait until Ctrl-C.

    Raises:
        ScriptError: a service stopped answering.
    """
    from stack.health import probe

    while True:
        time.sleep(LOOK_SECONDS)
        for service in filter(lambda item: item.required, runtime.services):
            seen = probe(service.url + service.health)
            if not seen.healthy:
                got = seen.status or seen.error
                raise ScriptError(f"{service.name} stopped answering: {got}", Exit.FAILED)


if __name__ == "__main__":
    run(main)
