"""Usage records, running totals by day and month, and quotas."""

import sqlalchemy as sa
from alembic import op

revision = "model_router_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_usage",
        sa.Column("run_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("fallback_reason", sa.Text),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("prompt_sha256", sa.Text, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    op.create_index("model_usage_by_workspace", "model_usage", ["workspace", "created_at"])
    # Summing a month of runs at every request would cost more with every day of it.
    op.create_table(
        "usage_totals",
        sa.Column("workspace", sa.Text, primary_key=True, nullable=False),
        sa.Column("period", sa.Text, primary_key=True, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "quotas",
        sa.Column("workspace", sa.Text, primary_key=True, nullable=False),
        sa.Column("tokens_per_day", sa.BigInteger, nullable=False),
        sa.Column("cost_per_month_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for table in ("quotas", "usage_totals", "model_usage"):
        op.drop_table(table)
