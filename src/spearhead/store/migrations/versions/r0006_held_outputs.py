"""An index of the answers that wait for a person."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add an index."""
    held = sa.text("state = 'held'")
    op.create_index("outputs_held", "outputs", ["id"], sqlite_where=held, postgresql_where=held)


def downgrade() -> None:
    """There is no way back: restore a backup."""
    raise NotImplementedError("restore a backup instead")
