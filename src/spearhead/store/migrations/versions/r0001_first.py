"""The first schema. A revision is history: it says what was, and takes nothing from today's `tables.py`."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
APPEND_ONLY = ("journal_groups", "journal_entries", "usage_events", "review_transitions", "settings", "audit")


def upgrade() -> None:
    """Make every table and the triggers that keep some of them append-only."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("accounts_key")),
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("happened", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_key")),
        sa.UniqueConstraint("hash", name=op.f("audit_hash_once")),
    )
    op.create_table(
        "idempotency",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("payload", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column("expires", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("account", "key", name=op.f("idempotency_key")),
    )
    op.create_table(
        "journal_groups",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("reverses", ID, nullable=True),
        sa.Column("payload", sa.String(length=64), nullable=False),
        sa.Column("booked", sa.String(length=32), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["reverses"], ["journal_groups.id"], name=op.f("journal_groups_reverses_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("journal_groups_key")),
        sa.UniqueConstraint("key", name=op.f("journal_groups_key_once")),
        sa.UniqueConstraint("reverses", name=op.f("journal_groups_reverses_once")),
    )
    op.create_table(
        "journal_snapshots",
        sa.Column("account", sa.String(length=96), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "currency", name=op.f("journal_snapshots_key")),
    )
    op.create_table(
        "releases",
        sa.Column("scenario", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("affected", sa.Text(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("scenario", "version", name=op.f("releases_key")),
    )
    op.create_table(
        "settings",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("scenario", sa.String(length=120), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("settings_key")),
    )
    op.create_index("settings_newest", "settings", ["scenario", "kind", "id"], unique=False)
    op.create_table(
        "withdrawals",
        sa.Column("record", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("record", name=op.f("withdrawals_key")),
    )
    op.create_table(
        "journal_entries",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("account", sa.String(length=96), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["journal_groups.id"], name=op.f("journal_entries_group_id_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("journal_entries_key")),
    )
    op.create_index(
        "journal_entries_by_account", "journal_entries", ["account", "currency", "id", "amount"], unique=False
    )
    op.create_index(op.f("journal_entries_by_group_id"), "journal_entries", ["group_id"], unique=False)
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column("expires", sa.String(length=32), nullable=True),
        sa.Column("blocked", sa.String(length=32), nullable=True),
        sa.Column("replaced_by", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("keys_account_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("keys_key")),
        sa.UniqueConstraint("hash", name=op.f("keys_hash_once")),
    )
    op.create_table(
        "outputs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("request", sa.String(length=200), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("release", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("blob", sa.String(length=64), nullable=True),
        sa.Column("mime", sa.String(length=64), nullable=False),
        sa.Column("finish", sa.String(length=32), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("completion_units", sa.BigInteger(), nullable=False),
        sa.Column("review", sa.String(length=64), nullable=True),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("outputs_account_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("outputs_key")),
    )
    op.create_index(op.f("outputs_by_account"), "outputs", ["account"], unique=False)
    op.create_index(op.f("outputs_by_release"), "outputs", ["release"], unique=False)
    op.create_index(op.f("outputs_by_request"), "outputs", ["request"], unique=False)
    op.create_table(
        "reservations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column("expires", sa.String(length=32), nullable=False),
        sa.CheckConstraint("amount >= 0", name="reservation_not_negative"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("reservations_account_exists")),
        sa.ForeignKeyConstraint(["group_id"], ["journal_groups.id"], name=op.f("reservations_group_id_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("reservations_key")),
        sa.UniqueConstraint("group_id", name=op.f("reservations_group_id_once")),
    )
    op.create_index(op.f("reservations_by_account"), "reservations", ["account"], unique=False)
    op.create_index("reservations_by_expiry", "reservations", ["state", "expires"], unique=False)
    op.create_table(
        "usage_events",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=200), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=True),
        sa.Column("release", sa.String(length=200), nullable=False),
        sa.Column("prompt_units", sa.BigInteger(), nullable=False),
        sa.Column("completion_units", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("happened", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("usage_events_account_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("usage_events_key")),
        sa.UniqueConstraint("source", "event", name="usage_once"),
    )
    op.create_index(op.f("usage_events_by_account"), "usage_events", ["account"], unique=False)
    op.create_index("usage_events_by_release", "usage_events", ["release", "happened"], unique=False)
    op.create_table(
        "reviews",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("output", sa.String(length=64), nullable=True),
        sa.Column("scenario", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=True),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("lease", sa.String(length=32), nullable=True),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column("expires", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["output"], ["outputs.id"], name=op.f("reviews_output_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("reviews_key")),
    )
    op.create_index(op.f("reviews_by_scenario"), "reviews", ["scenario"], unique=False)
    op.create_index(op.f("reviews_by_state"), "reviews", ["state"], unique=False)
    op.create_table(
        "review_transitions",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("review", sa.String(length=64), nullable=False),
        sa.Column("from_state", sa.String(length=16), nullable=False),
        sa.Column("to_state", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=True),
        sa.Column("happened", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["review"], ["reviews.id"], name=op.f("review_transitions_review_exists")),
        sa.PrimaryKeyConstraint("id", name=op.f("review_transitions_key")),
    )
    op.create_index(op.f("review_transitions_by_review"), "review_transitions", ["review"], unique=False)
    for table in APPEND_ONLY:
        _keep_append_only(table)


def downgrade() -> None:
    """There is no way back: restore a backup."""
    raise NotImplementedError("restore a backup instead")


def _keep_append_only(table: str) -> None:
    """Have the database itself refuse to change or remove a row, whoever asks."""
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
