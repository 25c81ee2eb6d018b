"""Indexes of what is forgotten, by when: answers that were kept for repetitions, counters of windows."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add two indexes."""
    op.create_index("idempotency_by_end", "idempotency", ["state", "expires"])
    op.create_index("limit_windows_by_start", "limit_windows", ["start"])


def downgrade() -> None:
    """There is no way back: restore a backup."""
    raise NotImplementedError("restore a backup instead")
