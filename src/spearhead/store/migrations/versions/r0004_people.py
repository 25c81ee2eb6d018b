"""People and their sessions; what an output was asked for, and whether it was erased."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add tables and columns; outputs that are there do not say what was asked."""
    op.create_table(
        "people",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("password", sa.String(length=200), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column("blocked", sa.String(length=32)),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("people_account_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("people_key")),
        sa.UniqueConstraint("name", name=op.f("people_name_once")),
    )
    op.create_index(op.f("people_by_account"), "people", ["account"])
    op.create_table(
        "sessions",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column("seen", sa.String(length=32), nullable=False),
        sa.Column("expires", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("sessions_person_exists")),
        sa.PrimaryKeyConstraint("hash", name=op.f("sessions_key")),
    )
    op.create_index(op.f("sessions_by_person"), "sessions", ["person"])
    op.create_index(op.f("sessions_by_expires"), "sessions", ["expires"])
    for column in (
        sa.Column("asked", sa.Text()),
        sa.Column("erased", sa.String(length=32)),
    ):
        op.add_column("outputs", column)
    op.create_index("outputs_of_account", "outputs", ["account", "created"])


def downgrade() -> None:
    """There is no way back: restore a backup."""
    raise NotImplementedError("restore a backup instead")
