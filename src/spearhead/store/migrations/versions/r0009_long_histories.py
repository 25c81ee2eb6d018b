"""What is asked of a long history: outputs in the order in which they came, by release, by state; grants that run."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add a column and indexes; outputs of before that were made in the same second stay in the order of their ids."""
    op.add_column("outputs", sa.Column("placed", sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_index(op.f("outputs_by_account"), "outputs")
    op.create_index("outputs_by_model", "outputs", ["account", "release"])
    op.create_index("outputs_by_state", "outputs", ["account", "state", "created"])
    erased = sa.text("erased IS NOT NULL")
    op.create_index("outputs_erased", "outputs", ["account", "created"], sqlite_where=erased, postgresql_where=erased)
    running = sa.text("closed IS NULL")
    op.create_index("grants_running", "grants", ["expires"], sqlite_where=running, postgresql_where=running)


def downgrade() -> None:
    """There is no way back: restore a backup."""
    raise NotImplementedError("restore a backup instead")
