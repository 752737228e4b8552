"""Documents, results, vectors and versioned state."""

import sqlalchemy as sa
from alembic import op

revision = "memory_engine_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "documents",
        sa.Column("document_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.CheckConstraint("version >= 1", name="documents_version"),
    )
    op.create_table(
        "results",
        sa.Column("job_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name="results_sha256"),
    )
    op.create_table(
        "vectors",
        sa.Column("vector_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("dimensions", sa.Integer, nullable=False),
        sa.Column("unit_values", sa.LargeBinary, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    op.create_index("vectors_dimensions", "vectors", ["dimensions"])
    op.create_table(
        "states",
        sa.Column("state_key", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.CheckConstraint("version >= 1", name="states_version"),
    )


def downgrade() -> None:
    for table in ("states", "vectors", "results", "documents"):
        op.drop_table(table)
