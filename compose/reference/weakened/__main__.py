"""Start one service without one control: `python -m weakened CONTROL SERVICE`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from weakened.registry import NotThereError, switch_off

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIGURATION_EXIT_CODE = 78
_ARGUMENTS = 2


def main(argv: Sequence[str]) -> int:
    """Replace the control, then do what `python -m services SERVICE` does."""
    if len(argv) != _ARGUMENTS:
        print(f"error: expected a control and a service, got {len(argv)} arguments")
        return CONFIGURATION_EXIT_CODE
    try:
        switch_off(argv[0])
    except NotThereError as problem:
        print(f"error: {problem}")
        return CONFIGURATION_EXIT_CODE
    from services.__main__ import main as serve

    return serve(argv[1:])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
