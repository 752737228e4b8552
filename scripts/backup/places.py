"""Where the stores of a system are: what the stack file says, with its placeholders filled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from backup.kinds import ADAPTERS
from common.cli import ConfigurationError, UsageError
from stack.placeholders import fill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from stack.model import Stack, Store


def parse_locations(texts: Sequence[str]) -> dict[str, str]:
    """`NAME=PATH` of the command line.

    Raises:
        UsageError: another form, or a name twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, place = text.partition("=")
        if not (name and equals and place) or name in found:
            raise UsageError(f"--location: expected NAME=PATH, each name once, got {text!r}")
        found[name] = place
    return found


def stores_of(
    stack: Stack,
    runtime: str,
    *,
    state: Path | None = None,
    locations: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
) -> tuple[Store, ...]:
    """The stores of a runtime, each with an adapter for its kind.

    Args:
        stack: the loaded stack file.
        runtime: one of its runtimes.
        state: what `{state}` means; default that of a stack that `run_stack.py` runs now.
        locations: paths that count instead of the stack file's, by store.
        only: names of stores; default all of them.

    Raises:
        ConfigurationError: no such runtime, a kind without an adapter, a place that is not
            known, or two stores in one place.
        UsageError: a name that the stack file has not.
    """
    if runtime not in stack.runtimes:
        known = ", ".join(stack.runtimes)
        raise ConfigurationError(f"{stack.file}: expected a runtime ({known}), got {runtime!r}")
    entries = {name: places[runtime] for name, places in stack.stores.items() if runtime in places}
    _check_names([*only, *(locations or {})], entries)
    wanted = [entry for name, entry in entries.items() if not only or name in only]
    for entry in wanted:
        check_kind(entry)
    if not wanted:
        raise ConfigurationError(f"{stack.file}: expected stores for {runtime}, got none")
    values = {"here": stack.here}
    if folder := state or _running_state(stack):
        values["state"] = folder
    found = tuple(_placed(entry, values, locations or {}) for entry in wanted)
    _check_apart(found)
    return found


def check_kind(store: Store) -> None:
    """Refuse a store of a kind without an adapter.

    Raises:
        ConfigurationError: it is one.
    """
    if store.kind not in ADAPTERS:
        known = " or ".join(ADAPTERS)
        raise ConfigurationError(
            f"the store {store.name}: expected the kind {known}, got {store.kind}: "
            "name the others with --store"
        )


def _check_names(names: Sequence[str], entries: Mapping[str, Store]) -> None:
    for name in names:
        if name not in entries:
            known = ", ".join(entries) or "none"
            raise UsageError(f"expected a store of the stack file ({known}), got {name!r}")


def _placed(entry: Store, values: Mapping[str, Path], locations: Mapping[str, str]) -> Store:
    if given := locations.get(entry.name):
        return replace(entry, location=given)
    if "{state}" in entry.location and "state" not in values:
        raise ConfigurationError(
            f"where the store {entry.name} is is not known: give --state FOLDER, or "
            f"--location {entry.name}=PATH"
        )
    return replace(entry, location=fill(entry.location, values))


def _running_state(stack: Stack) -> Path | None:
    from pathlib import Path

    from stack.records import live_records

    running = live_records(stack.file)
    return Path(running[-1].state) if running else None


def _check_apart(stores: Sequence[Store]) -> None:
    from pathlib import Path

    for one in stores:
        for other in stores:
            if one is not other and Path(one.location).is_relative_to(other.location):
                raise ConfigurationError(
                    f"the stores {one.name} and {other.name}: expected places apart, got one in "
                    "the other: name one of them with --store"
                )
