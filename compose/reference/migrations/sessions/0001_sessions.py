"""Sessions; times are Unix seconds, because expiry is computed from them."""

import sqlalchemy as sa
from alembic import op

revision = "sessions_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("ttl_seconds", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("heartbeat_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.CheckConstraint("state IN ('active', 'expired', 'destroyed')", name="sessions_state"),
        sa.CheckConstraint("ttl_seconds BETWEEN 1 AND 86400", name="sessions_ttl"),
        sa.CheckConstraint("(state = 'active') = (ended_at IS NULL)", name="sessions_end"),
    )
    op.create_index("sessions_by_state", "sessions", ["state", "ended_at"])


def downgrade() -> None:
    op.drop_table("sessions")
