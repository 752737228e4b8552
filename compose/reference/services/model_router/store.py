"""Usage and quotas in the database: checked and charged in one transaction (C5)."""

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, text

from services.kit.database import Database
from services.model_router import quotas
from services.model_router.model import MODEL_ID
from services.model_router.quotas import Quota, QuotaName, Used

RECENT_RUNS = 20

_QUOTA = text("SELECT * FROM quotas WHERE workspace = :workspace")
_SET_QUOTA = text("""
    INSERT INTO quotas (workspace, tokens_per_day, cost_per_month_micro_usd, changed_at)
    VALUES (:workspace, :tokens, :cost, :now)
    ON CONFLICT (workspace) DO UPDATE SET tokens_per_day = excluded.tokens_per_day,
        cost_per_month_micro_usd = excluded.cost_per_month_micro_usd,
        changed_at = excluded.changed_at
""")
_TOTAL = text("""
    SELECT tokens, cost_micro_usd FROM usage_totals
    WHERE workspace = :workspace AND period = :period
""")
_ADD_TOTAL = text("""
    INSERT INTO usage_totals (workspace, period, tokens, cost_micro_usd)
    VALUES (:workspace, :period, :tokens, :cost)
    ON CONFLICT (workspace, period) DO UPDATE SET
        tokens = usage_totals.tokens + excluded.tokens,
        cost_micro_usd = usage_totals.cost_micro_usd + excluded.cost_micro_usd
""")
_ADD_RUN = text("""
    INSERT INTO model_usage (run_id, workspace, provider, fallback_reason, model_id,
        prompt_sha256, prompt_tokens, completion_tokens, cost_micro_usd, created_at)
    VALUES (:run_id, :workspace, :provider, :fallback_reason, :model_id,
        :prompt_sha256, :prompt_tokens, :completion_tokens, :cost_micro_usd, :created_at)
""")
_RUNS = text(f"""
    SELECT * FROM model_usage WHERE workspace = :workspace
    ORDER BY created_at DESC, run_id LIMIT {RECENT_RUNS}
""")  # noqa: S608 - a constant


class QuotaExceededError(Exception):
    """The run would go over a cap, so it is not given out (C5); `name` is the cap's."""

    def __init__(self, name: QuotaName) -> None:
        """Name the cap."""
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Run:
    """What is kept of one run; never the prompt itself (C4)."""

    workspace: str
    provider: str
    fallback_reason: str | None
    prompt_sha256: str
    prompt_tokens: int
    completion_tokens: int
    cost_micro_usd: int
    created_at: str

    @property
    def total_tokens(self) -> int:
        """What counts against the quota."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Standing:
    """The caps of a workspace and what it has used of them."""

    quota: Quota
    used: Used


def charge(database: Database, run: Run) -> Standing:
    """Record a run, unless it would go over a cap.

    Checked and written under the write lock: runs at the same moment can't share the
    last tokens of a quota.

    Raises:
        QuotaExceededError: the run would go over a cap; nothing is recorded.
    """
    return database.write(lambda connection: _charge(connection, run))


def usage(database: Database, workspace: str, now: str) -> tuple[Standing, list[Run]]:
    """Where a workspace stands, and its most recent runs, newest first."""
    with database.reading() as connection:
        standing = Standing(_quota(connection, workspace), _used(connection, workspace, now))
        rows = connection.execute(_RUNS, {"workspace": workspace}).mappings().all()
    return standing, [_run(row) for row in rows]


def set_quota(database: Database, workspace: str, quota: Quota, now: str) -> None:
    """Give a workspace new caps; what it has used stays used."""
    row = {
        "workspace": workspace,
        "tokens": quota.tokens_per_day,
        "cost": quota.cost_per_month_micro_usd,
        "now": now,
    }
    database.write(lambda connection: connection.execute(_SET_QUOTA, row))


def _charge(connection: Connection, run: Run) -> Standing:
    quota = _quota(connection, run.workspace)
    used = _used(connection, run.workspace, run.created_at)
    used = used.plus(run.total_tokens, run.cost_micro_usd)
    if name := quotas.exceeded(quota, used):
        raise QuotaExceededError(name)
    row = {**vars(run), "run_id": secrets.token_hex(16), "model_id": MODEL_ID}
    connection.execute(_ADD_RUN, row)
    for period in (quotas.day_of(run.created_at), quotas.month_of(run.created_at)):
        total = {"tokens": run.total_tokens, "cost": run.cost_micro_usd}
        connection.execute(_ADD_TOTAL, {"workspace": run.workspace, "period": period, **total})
    return Standing(quota, used)


def _quota(connection: Connection, workspace: str) -> Quota:
    row = connection.execute(_QUOTA, {"workspace": workspace}).mappings().first()
    return Quota(row["tokens_per_day"], row["cost_per_month_micro_usd"]) if row else Quota()


def _used(connection: Connection, workspace: str, now: str) -> Used:
    tokens, _ = _total(connection, workspace, quotas.day_of(now))
    _, cost = _total(connection, workspace, quotas.month_of(now))
    return Used(tokens, cost)


def _total(connection: Connection, workspace: str, period: str) -> tuple[int, int]:
    row = connection.execute(_TOTAL, {"workspace": workspace, "period": period}).first()
    return (row[0], row[1]) if row else (0, 0)


def _run(row: RowMapping) -> Run:
    return Run(**{name: row[name] for name in Run.__dataclass_fields__})
