"""Answers: the messages that each one answers, and which answer a person's edit replaces."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add two columns; answers that are there say neither."""
    op.add_column("outputs", sa.Column("prompt", sa.Text()))
    op.add_column("outputs", sa.Column("edits", sa.String(length=64)))
    op.create_index("outputs_edited_once", "outputs", ["edits"], unique=True)


def downgrade() -> None:
    """There is no way back: restore a backup."""
    raise NotImplementedError("restore a backup instead")
