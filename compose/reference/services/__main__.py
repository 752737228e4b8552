"""Run one service: `python -m services NAME`."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from services.kit.logs import configure_logs
from services.kit.settings import Settings, SettingsError, refuse_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp

# Streams get this long to end before they are cut; the whole stop takes under a second.
_GRACE_SECONDS = 0.3


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop; 78 where the configuration is wrong.

    Only the asked service is imported: start-up time is import time.
    """
    try:
        if len(argv) != 1:
            raise SettingsError(f"expected the name of one service, got {len(argv)} arguments")
        settings = Settings.from_environment(argv[0])
        os.umask(0o077)
        configure_logs(settings.service, settings.secrets)
        # What imports make stays: to search it for garbage meanwhile costs a tenth of the start.
        gc.disable()
        module = importlib.import_module(f"services.{settings.service.replace('-', '_')}.app")
        app = module.build(settings)
        gc.freeze()
        gc.enable()
        return _serve(settings, app)
    except SettingsError as problem:
        return refuse_start(problem)


def _serve(settings: Settings, app: ASGIApp) -> int:
    import uvicorn

    config = uvicorn.Config(
        app,
        host=settings.listen_host,
        port=settings.port,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    # The option is typed in whole seconds, but is only ever handed to asyncio.wait_for.
    config.timeout_graceful_shutdown = _GRACE_SECONDS  # type: ignore[assignment]
    # uvicorn stops, then raises the signal again for whoever had it before: a clean exit.
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _exit)
    uvicorn.Server(config).run()
    return 0


def _exit(_signum: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
