"""Money: grants, plans, limits, invoices, and what a reservation and a usage event remember of them."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
APPEND_ONLY = ("plans", "limits", "invoices", "invoiced_events")


def upgrade() -> None:
    """Add tables and columns; rows that are there keep what they say."""
    big = sa.BigInteger()
    columns: dict[str, tuple[sa.Column[Any], ...]] = {
        "reservations": (
            _count("units"),
            sa.Column("unit", sa.String(length=3)),
            sa.Column("prompt_price", big),
            sa.Column("completion_price", big),
            _count("prompt_units"),
            _count("completion_units"),
            sa.Column("key_id", sa.String(length=64)),
            sa.Column("team", sa.String(length=64)),
            _count("requests", sa.Integer()),
            _count("tokens"),
        ),
        "usage_events": (
            sa.Column("reservation", sa.String(length=64)),
            _count("charged_prompt"),
            _count("charged_completion"),
            _count("covered"),
            _count("on_account"),
            _count("covered_worth"),
            sa.Column("prompt_price", big),
            sa.Column("completion_price", big),
            _count("milliseconds"),
        ),
    }
    for table, added in columns.items():
        for column in added:
            op.add_column(table, column)
    op.create_index("reservations_of_key", "reservations", ["key_id", "created"])
    op.create_index("reservations_of_account", "reservations", ["account", "created"])
    op.create_index("reservations_of_team", "reservations", ["team", "created"])
    op.create_index("usage_events_by_time", "usage_events", ["account", "happened"])
    op.create_table(
        "grants",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount", big, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("promotional", sa.Integer(), nullable=False),
        sa.Column("effective", sa.String(length=32), nullable=False),
        sa.Column("expires", sa.String(length=32)),
        sa.Column("worth", big, nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column("closed", sa.String(length=32)),
        sa.CheckConstraint("amount > 0", name="grant_positive"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("grants_account_exists")),
        sa.ForeignKeyConstraint(["group_id"], ["journal_groups.id"], name=op.f("grants_group_id_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("grants_key")),
        sa.UniqueConstraint("group_id", name=op.f("grants_group_id_once")),
    )
    op.create_index("grants_live", "grants", ["account", "closed", "expires"])
    op.create_table(
        "plans",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("plans_key")),
    )
    op.create_index(op.f("plans_by_name"), "plans", ["name"])
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("started", sa.String(length=32), nullable=False),
        sa.Column("ended", sa.String(length=32)),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("subscriptions_account_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("subscriptions_key")),
    )
    op.create_index("subscriptions_of_account", "subscriptions", ["account", "started"])
    op.create_table(
        "teams",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("teams_key")),
    )
    op.create_table(
        "team_members",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("team", sa.String(length=64), nullable=False),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("team_members_account_exists")),
        sa.ForeignKeyConstraint(["team"], ["teams.id"], name=op.f("team_members_team_exists")),
        sa.PrimaryKeyConstraint("account", name=op.f("team_members_key")),
    )
    op.create_index(op.f("team_members_by_team"), "team_members", ["team"])
    op.create_table(
        "limits",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("measure", sa.String(length=16), nullable=False),
        sa.Column("span", sa.String(length=16), nullable=False),
        sa.Column("most", big),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("limits_key")),
    )
    op.create_index(op.f("limits_by_subject"), "limits", ["subject"])
    op.create_table(
        "limit_windows",
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("measure", sa.String(length=16), nullable=False),
        sa.Column("span", sa.String(length=16), nullable=False),
        sa.Column("start", sa.String(length=32), nullable=False),
        sa.Column("used", big, nullable=False),
        sa.PrimaryKeyConstraint("subject", "measure", "span", "start", name=op.f("limit_windows_key")),
    )
    op.create_table(
        "invoices",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("once", sa.String(length=200), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("due", big, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("group_id", ID),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("invoices_account_exists")),
        sa.ForeignKeyConstraint(["group_id"], ["journal_groups.id"], name=op.f("invoices_group_id_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("invoices_key")),
        sa.UniqueConstraint("number", name=op.f("invoices_number_once")),
        sa.UniqueConstraint("once", name=op.f("invoices_once_once")),
    )
    op.create_index(op.f("invoices_by_account"), "invoices", ["account"])
    op.create_table(
        "invoiced_events",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("event", ID, nullable=False),
        sa.Column("invoice", ID, nullable=False),
        sa.ForeignKeyConstraint(["event"], ["usage_events.id"], name=op.f("invoiced_events_event_exists")),
        sa.ForeignKeyConstraint(["invoice"], ["invoices.id"], name=op.f("invoiced_events_invoice_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("invoiced_events_key")),
        sa.UniqueConstraint("event", name=op.f("invoiced_events_event_once")),
    )
    op.create_index(op.f("invoiced_events_by_invoice"), "invoiced_events", ["invoice"])
    for table in APPEND_ONLY:
        _keep_append_only(table)


def downgrade() -> None:
    """There is no way back: restore a backup."""
    raise NotImplementedError("restore a backup instead")


def _count(name: str, kind: "sa.types.TypeEngine[int] | None" = None) -> "sa.Column[Any]":
    """A number that is zero in the rows that are there."""
    return sa.Column(name, kind or sa.BigInteger(), nullable=False, server_default="0")


def _keep_append_only(table: str) -> None:
    """As in the first revision: the database itself refuses to change or remove a row."""
    words = f"{table} is append-only: rows are added, never changed or removed"
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()"
    )
