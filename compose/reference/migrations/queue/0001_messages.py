"""The queue: one row per job that waits or is leased, and the dead ones for inspection."""

import sqlalchemy as sa
from alembic import op

revision = "queue_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "messages",
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Text, nullable=False, unique=True),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("leased_until", sa.Float, nullable=False),
        sa.Column("receipt", sa.Text),
        sa.Column("deliveries", sa.Integer, nullable=False),
        sa.CheckConstraint("priority BETWEEN 0 AND 2", name="messages_priority"),
    )
    op.create_index("messages_order", "messages", [sa.text("priority DESC"), "sequence"])
    op.create_table(
        "dead_messages",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("deliveries", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("died_at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("dead_messages")
    op.drop_index("messages_order", "messages")
    op.drop_table("messages")
