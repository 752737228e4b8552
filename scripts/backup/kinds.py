"""What a kind of store has to be able to do; a new kind is one module and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from backup import directory, sqlite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from backup.manifest import StoreBackup
    from backup.snapshot import Snapshot
    from stack.model import Store


class Adapter(Protocol):
    """The functions of a kind's module."""

    def snapshot(self, store: Store, folder: Path) -> Snapshot:
        """Copy the store as it is at one moment into `folder`, which is empty.

        Raises:
            ScriptError: it can't be read, or is damaged itself.
        """

    def check(self, backup: StoreBackup, folder: Path) -> None:
        """Look at what came out of an archive, as its own software would.

        Raises:
            DamagedError: it is not what the backup's facts say.
        """

    def source(self, backup: StoreBackup, folder: Path) -> Path:
        """What of the unpacked folder of a store takes the place of the store."""

    def beside(self, target: Path) -> Sequence[Path]:
        """What else belongs to a store at `target`, and must never meet another one."""

    def check_target(self, backup: StoreBackup, target: Path) -> None:
        """Refuse to replace a store that this backup does not fit.

        Raises:
            RefusedError: say, its schema is older than the backup's.
        """


ADAPTERS: Mapping[str, Adapter] = {"sqlite": sqlite, "directory": directory}
