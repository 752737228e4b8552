"""A piece that is being observed: its clock, its journal, and its file on the disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from soak import clock
from soak.spans import Piece
from stack.identity import as_keys
from traffic.clock import boottime_seconds
from traffic.journal import Journal
from traffic.record import PieceHeader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from soak.folder import SoakFolder
    from stack.identity import Identity
    from traffic.model import Profile


@dataclass
class OpenPiece:
    """One piece of a soak, from now on.

    Args:
        folder: of the soak.
        piece: as its file says now.
        start: the reading of the clock that is second 0 of the soak.
        asked_end_seconds: when everything that was asked for is observed.
        journal: where its samples go.
    """

    folder: SoakFolder
    piece: Piece
    start: float
    asked_end_seconds: float
    journal: Journal

    @classmethod
    def begin(
        cls,
        folder: SoakFolder,
        profiles: Sequence[Profile],
        identities: Mapping[str, Identity | None],
        number: int,
    ) -> OpenPiece:
        """The first piece begins at 0, a later one where the clock is by now."""
        moment, known = clock.now(), folder.pieces()
        last = max((piece.end_seconds for piece in known), default=0.0)
        begin = max(last, folder.start.seconds_until(moment)) if known else 0.0
        keys, start = as_keys(identities), moment.boottime_seconds - begin
        header = PieceHeader(
            run_id=folder.header.run_id,
            piece=number,
            boot_id=moment.boot_id,
            boottime_seconds=moment.boottime_seconds,
            start_seconds=start,
            time_utc=_utc(moment.wall_seconds),
            profiles=[profile.as_json() for profile in profiles],
            services=keys,
        )
        end = begin + folder.remaining_seconds()
        piece = Piece(number, begin, begin, moment.boot_id, keys, keys, asked_end_seconds=end)
        opened = cls(folder, piece, start, end, Journal(folder.path, header))
        folder.write_piece(piece)
        return opened

    @property
    def begin_seconds(self) -> float:
        """When it began, since the start of the soak."""
        return self.piece.begin_seconds

    def now(self) -> float:
        """Seconds since the start of the soak."""
        return boottime_seconds() - self.start

    def slept(self, asleep_seconds: float, awake_seconds: float) -> None:
        """Nobody looked between these two times."""
        gap = (asleep_seconds, awake_seconds)
        self.piece = replace(self.piece, sleeps=(*self.piece.sleeps, gap))

    def write(
        self,
        now: float,
        identities: Mapping[str, Identity | None],
        ended: str | None = None,
        traffic_end_seconds: float | None = None,
    ) -> None:
        """Renew its file: what would be known if the harness were killed now."""
        self.piece = replace(
            self.piece,
            end_seconds=now,
            services_end=as_keys(identities),
            ended=ended,
            traffic_end_seconds=traffic_end_seconds,
        )
        self.folder.write_piece(self.piece)


def _utc(wall_seconds: float) -> str:
    return datetime.fromtimestamp(wall_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
