"""Every table of the one database, and nothing about how they are used. Times are ISO 8601 text in UTC, money is
integer billionths, JSON columns hold canonical JSON text. The tables named in APPEND_ONLY are kept so by triggers.

Every index is a page more that a new row writes and the disk is waited for: one whose rows are few is of those alone.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)


def _only(words: str) -> dict[str, Any]:
    """An index of the rows alone that this is true of. SQLite reads it where a query says so in words or, where the
    words are that a column is not null, compares that column."""
    return {"sqlite_where": text(words), "postgresql_where": text(words)}


# Constraints without a name cannot be dropped by a later migration; every one gets a name that says what it is.
metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_key",
        "fk": "%(table_name)s_%(column_0_name)s_exists",
        "uq": "%(table_name)s_%(column_0_name)s_once",
        "ix": "%(table_name)s_by_%(column_0_name)s",
    }
)
ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up by itself only for an INTEGER key
APPEND_ONLY = (
    "journal_groups",
    "journal_entries",
    "usage_events",
    "review_transitions",
    "settings",
    "audit",
    "plans",
    "limits",
    "invoices",
    "invoiced_events",
)

# -- who ---------------------------------------------------------------------------------------------------------
accounts = Table(
    "accounts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("role", String(16), nullable=False),  # admin, user
    Column("currency", String(3), nullable=False),
    Column("created", String(32), nullable=False),
)
keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),  # sha256 of a high-entropy key
    Column("scopes", Text, nullable=False),  # JSON list
    Column("created", String(32), nullable=False),
    Column("expires", String(32)),
    Column("blocked", String(32)),
    Column("replaced_by", String(64)),
)
people = Table(
    "people",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", String(64), nullable=False, unique=True),  # what they sign in with
    Column("roles", Text, nullable=False),  # JSON list: creator, reviewer, operator, auditor
    Column("password", String(200), nullable=False),  # argon2id
    Column("created", String(32), nullable=False),
    Column("blocked", String(32)),
)
sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),  # sha256 of 256 random bits that only the browser has
    Column("person", ForeignKey("people.id"), nullable=False, index=True),
    Column("created", String(32), nullable=False),
    Column("seen", String(32), nullable=False),
    Column("expires", String(32), nullable=False, index=True),
)

# -- money: immutable groups of entries that sum to zero ---------------------------------------------------------
journal_groups = Table(
    "journal_groups",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("key", String(200), nullable=False, unique=True),  # every write is once-only under its key
    Column("kind", String(32), nullable=False),  # credit, reserve, settle, release, reverse
    Column("reverses", ForeignKey("journal_groups.id"), unique=True),  # a group is reversed at most once
    Column("payload", String(64), nullable=False),  # digest: the same key with another payload is refused
    Column("booked", String(32), nullable=False),
    Column("created", String(32), nullable=False),
)
journal_entries = Table(
    "journal_entries",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("group_id", ForeignKey("journal_groups.id"), nullable=False, index=True),
    # <account>:available, :reserved, :grant:<id>, :line, :receivable; wash, earnings, breakage, rounding, tax
    Column("account", String(96), nullable=False),
    Column("currency", String(3), nullable=False),  # or a unit that a plan includes, as XTK for tokens
    Column("amount", BigInteger, nullable=False),
    Index("journal_entries_by_account", "account", "currency", "id", "amount"),  # a balance reads the index alone
)
journal_snapshots = Table(  # a cache: the sum of an account's entries up to one; removing rows changes no result
    "journal_snapshots",
    metadata,
    Column("account", String(96), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("entry", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
)
reservations = Table(
    "reservations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("group_id", ForeignKey("journal_groups.id"), nullable=False, unique=True),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),  # open, settled, released
    Column("settled", BigInteger),
    Column("created", String(32), nullable=False),
    Column("expires", String(32), nullable=False),
    Column("units", BigInteger, nullable=False, server_default="0"),  # of a plan, held beside the money
    Column("unit", String(3)),
    Column("prompt_price", BigInteger),  # frozen when it was made: what settles it
    Column("completion_price", BigInteger),
    Column("prompt_units", BigInteger, nullable=False, server_default="0"),  # the most that it is for
    Column("completion_units", BigInteger, nullable=False, server_default="0"),
    Column("key_id", String(64)),
    Column("team", String(64)),
    Column("requests", Integer, nullable=False, server_default="0"),
    Column("tokens", BigInteger, nullable=False, server_default="0"),
    Column("server", String(32)),  # whose work it is for; none where it waits for a person
    CheckConstraint("amount >= 0", name="reservation_not_negative"),
    Index("reservations_open", "expires", **_only("state = 'open'")),  # the sweep's question; what is closed leaves it
    Index("reservations_of_key", "key_id", "created", **_only("key_id IS NOT NULL")),
    Index("reservations_of_account", "account", "created"),
    Index("reservations_of_team", "team", "created", **_only("team IS NOT NULL")),
)
OPEN = reservations.c.state == literal_column("'open'")
"""Whether a reservation is open, in words as their index has it: a bound value would lead SQLite past it."""
usage_events = Table(
    "usage_events",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("source", String(64), nullable=False),
    Column("event", String(200), nullable=False),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("key_id", String(64)),
    Column("release", String(200), nullable=False),
    Column("prompt_units", BigInteger, nullable=False),
    Column("completion_units", BigInteger, nullable=False),
    Column("unit", String(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("happened", String(32), nullable=False),
    Column("reservation", String(64)),
    Column("charged_prompt", BigInteger, nullable=False, server_default="0"),  # what of the units was to be paid
    Column("charged_completion", BigInteger, nullable=False, server_default="0"),
    Column("covered", BigInteger, nullable=False, server_default="0"),  # of those, what the plan includes
    Column("on_account", BigInteger, nullable=False, server_default="0"),  # of the amount, what an invoice asks for
    Column("covered_worth", BigInteger, nullable=False, server_default="0"),
    Column("prompt_price", BigInteger),
    Column("completion_price", BigInteger),
    Column("milliseconds", BigInteger, nullable=False, server_default="0"),  # of the whole machine
    UniqueConstraint("source", "event", name="usage_once"),
    Index("usage_events_by_release", "release", "happened"),
    Index("usage_events_by_time", "account", "happened"),
)
# -- plans, limits, invoices --------------------------------------------------------------------------------------
grants = Table(  # money or units with an order of use and an end; what is left of one is the sum of its entries
    "grants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("priority", Integer, nullable=False),  # lower first
    Column("promotional", Integer, nullable=False),
    Column("effective", String(32), nullable=False),
    Column("expires", String(32)),
    Column("worth", BigInteger, nullable=False),  # what was paid for all of it, where it holds units
    Column("note", String(200), nullable=False),
    Column("group_id", ForeignKey("journal_groups.id"), nullable=False, unique=True),
    Column("created", String(32), nullable=False),
    Column("closed", String(32)),  # nothing is left and nothing can come back: looked at no more
    CheckConstraint("amount > 0", name="grant_positive"),
    Index("grants_live", "account", "closed", "expires"),
    Index("grants_running", "expires", **_only("closed IS NULL")),
)
plans = Table(
    "plans",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False, index=True),  # the newest of a name is offered
    Column("value", Text, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("created", String(32), nullable=False),
)
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("plan", String(64), nullable=False),
    Column("value", Text, nullable=False),  # the plan as it was agreed on
    Column("started", String(32), nullable=False),
    Column("ended", String(32)),
    Column("created", String(32), nullable=False),
    Index("subscriptions_of_account", "account", "started"),
)
teams = Table(
    "teams",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("created", String(32), nullable=False),
)
team_members = Table(
    "team_members",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("team", ForeignKey("teams.id"), nullable=False, index=True),
    Column("since", String(32), nullable=False),
)
limits = Table(  # the newest row of a subject, measure and span holds; one without `most` lifts it
    "limits",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("subject", String(80), nullable=False, index=True),  # key:<id>, account:<id>, team:<id>
    Column("measure", String(16), nullable=False),  # requests, tokens, parallel, budget
    Column("span", String(16), nullable=False),  # minute, hour, day, month; empty for parallel
    Column("most", BigInteger),
    Column("actor", String(64), nullable=False),
    Column("created", String(32), nullable=False),
)
limit_windows = Table(  # a cache: what the reservations of a window come to; removing rows changes no result
    "limit_windows",
    metadata,
    Column("subject", String(80), primary_key=True),
    Column("measure", String(16), primary_key=True),
    Column("span", String(16), primary_key=True),
    Column("start", String(32), primary_key=True),
    Column("used", BigInteger, nullable=False),
    Index("limit_windows_by_start", "start"),  # whoever looks for what is over
)
rate_leases = Table(  # what each process has taken of a key's rates, until then (milliseconds since 1970)
    "rate_leases",
    metadata,
    Column("key_id", String(64), primary_key=True),
    Column("measure", String(16), primary_key=True),  # requests, tokens, parallel
    Column("process", String(32), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
)
servers = Table(  # that live; each counts its own beats
    "servers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("beat", BigInteger, nullable=False),
    Column("started", String(32), nullable=False),
)
invoices = Table(
    "invoices",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("number", String(64), nullable=False, unique=True),
    Column("once", String(200), nullable=False, unique=True),  # the subscription and its period
    Column("account", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("currency", String(3), nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
    Column("group_id", ForeignKey("journal_groups.id")),
    Column("created", String(32), nullable=False),
)
invoiced_events = Table(  # every usage event is on one invoice at most
    "invoiced_events",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("event", ForeignKey("usage_events.id"), nullable=False, unique=True),
    Column("invoice", ForeignKey("invoices.id"), nullable=False, index=True),
)
idempotency = Table(
    "idempotency",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("payload", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # running, done
    Column("status", Integer),
    Column("headers", Text),
    Column("body", Text),
    Column("created", String(32), nullable=False),
    Column("expires", String(32), nullable=False),
    Column("server", String(32)),  # that runs it
    Index("idempotency_by_end", "state", "expires"),  # whoever looks for what is over reads no body
)

# -- outputs and review -------------------------------------------------------------------------------------------
outputs = Table(
    "outputs",
    metadata,
    Column("id", String(64), primary_key=True),  # the ProduceID in the label
    Column("request", String(200), nullable=False, index=True),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("release", String(200), nullable=False),
    Column("state", String(16), nullable=False),  # released, held, rejected, blocked, withdrawn, edited
    Column("text", Text),
    Column("blob", String(64)),  # sha256 of the labelled file
    Column("mime", String(64), nullable=False),
    Column("finish", String(32), nullable=False),
    Column("findings", Text, nullable=False),
    Column("policy", String(64), nullable=False),
    Column("options", Text, nullable=False),
    Column("seed", BigInteger),
    Column("completion_units", BigInteger, nullable=False),
    Column("review", String(64)),
    Column("created", String(32), nullable=False),
    Column("prompt", Text),  # JSON list of the messages that it answers
    Column("edits", String(64)),  # the output whose words a person changed into these
    Column("asked", Text),  # JSON: count, seed and options as asked for, to ask again
    Column("erased", String(32)),  # prompt, text and bytes are gone since then; the row says that there were some
    Column("placed", BigInteger, nullable=False, server_default="0"),  # microseconds since 1970: order within a second
    Index("outputs_edited_once", "edits", unique=True, **_only("edits IS NOT NULL")),
    Index("outputs_of_account", "account", "created"),
    Index("outputs_of_release", "release", "account"),
    Index("outputs_by_state", "account", "state", "created"),
    Index("outputs_erased", "account", "created", **_only("erased IS NOT NULL")),
    # Few of many: whoever looks for what was decided reads these alone.
    Index("outputs_held", "id", **_only("state = 'held'")),
)
reviews = Table(
    "reviews",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("output", ForeignKey("outputs.id")),
    Column("scenario", String(120), nullable=False, index=True),
    Column("state", String(16), nullable=False, index=True),
    Column("version", Integer, nullable=False),  # compare-and-set
    Column("blob", String(64)),  # an approval is bound to these bytes
    Column("policy", String(64), nullable=False),
    Column("people", Integer, nullable=False),
    Column("claimed_by", String(64)),
    Column("lease", String(32)),
    Column("created", String(32), nullable=False),
    Column("expires", String(32), nullable=False),
)
review_transitions = Table(
    "review_transitions",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("review", ForeignKey("reviews.id"), nullable=False, index=True),
    Column("from_state", String(16), nullable=False),
    Column("to_state", String(16), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("policy", String(64), nullable=False),
    Column("blob", String(64)),
    Column("happened", String(32), nullable=False),
)

# -- releases, live settings, withdrawn records, audit --------------------------------------------------------------
releases = Table(
    "releases",
    metadata,
    Column("scenario", String(120), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("state", String(16), nullable=False),  # passing, live, retired
    Column("affected", Text, nullable=False),  # JSON list of withdrawn record ids that it learnt from
    Column("created", String(32), nullable=False),
)
settings = Table(  # live policies and prices; the newest row wins, older ones stay
    "settings",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("scenario", String(120), nullable=False),
    Column("kind", String(16), nullable=False),  # policy, price
    Column("value", Text, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("created", String(32), nullable=False),
    Index("settings_newest", "scenario", "kind", "id"),
)
withdrawals = Table(
    "withdrawals",
    metadata,
    Column("record", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created", String(32), nullable=False),
)
audit = Table(
    "audit",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("happened", String(32), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)
