"""Jobs with their outbox, workspaces, simulations and audit bundles."""

import sqlalchemy as sa
from alembic import op

revision = "control_plane_0001"
down_revision = None
branch_labels = None
depends_on = None

# 64 bits everywhere: SQLite's INTEGER has them, and numbers rows by itself under that name only.
_LARGE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "workspaces",
        sa.Column("workspace_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("deleted_at", sa.Text),
    )
    op.create_table(
        "jobs",
        sa.Column("number", _LARGE, primary_key=True),
        sa.Column("job_id", sa.Text, nullable=False, unique=True),
        sa.Column("idempotency_key", sa.Text, unique=True),
        sa.Column("body_sha256", sa.Text, nullable=False),
        sa.Column("workspace_id", sa.Text, sa.ForeignKey("workspaces.workspace_id")),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("strategy", sa.Text, nullable=False),
        sa.Column("priority", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("sequence", _LARGE, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("completed_at", sa.Text),
        sa.Column("published", sa.Boolean, nullable=False),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'completed', 'failed')", name="jobs_status"
        ),
    )
    # The outbox is empty most of the time: an index over nothing but its rows.
    op.create_index(
        "jobs_outbox",
        "jobs",
        ["number"],
        sqlite_where=sa.text("NOT published"),
        postgresql_where=sa.text("NOT published"),
    )
    op.create_index("jobs_workspace", "jobs", ["workspace_id", "number"])
    op.create_index("jobs_status", "jobs", ["status", "number"])
    op.create_table(
        "simulations",
        sa.Column("simulation_id", sa.Text, primary_key=True, nullable=False),
        sa.Column(
            "workspace_id", sa.Text, sa.ForeignKey("workspaces.workspace_id"), nullable=False
        ),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("iterations", sa.Integer, nullable=False),
        sa.Column("report", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    op.create_table(
        "audit_bundles",
        sa.Column("bundle_id", sa.Text, primary_key=True, nullable=False),
        sa.Column(
            "workspace_id", sa.Text, sa.ForeignKey("workspaces.workspace_id"), nullable=False
        ),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for table in ("audit_bundles", "simulations", "jobs", "workspaces"):
        op.drop_table(table)
