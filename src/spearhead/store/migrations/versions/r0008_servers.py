"""Servers and their signs of life; which of them holds what."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add a table and two columns; what is held already runs out by the clock, as before."""
    op.create_table(
        "servers",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("servers_key")),
    )
    for table in ("reservations", "idempotency"):
        op.add_column(table, sa.Column("server", sa.String(length=32)))


def downgrade() -> None:
    """There is no way back: restore a backup."""
    raise NotImplementedError("restore a backup instead")
