"""Ctrl-C, SIGTERM and SIGHUP inside an event loop: a wish, not an exception."""

from __future__ import annotations

import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def told_of_signals(loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` for each signal; afterwards handlers are what they were."""
    before: dict[int, Any] = {}
    for name in _NAMES:
        number = getattr(signal, name, None)
        # nohup's SIG_IGN is a wish to live on: keep it.
        if number is None or signal.getsignal(number) == signal.SIG_IGN:
            continue
        with suppress(NotImplementedError):  # Windows: Ctrl-C raises there as everywhere else
            handler = signal.getsignal(number)
            loop.add_signal_handler(number, tell)
            before[number] = handler
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
