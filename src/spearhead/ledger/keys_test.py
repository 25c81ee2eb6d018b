"""Promises about keys."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine

from spearhead.core.clock import Clock
from spearhead.core.errors import InputError
from spearhead.ledger import keys, limits
from spearhead.ledger.limits import Limit
from spearhead.store import database, tables
from spearhead.store.database import StoreUnavailable

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def at(moment: datetime) -> Clock:
    """A clock that stands still."""
    return lambda: moment


def issued(engine: Engine, *, expires: datetime | None = None) -> keys.Issued:
    """A key made at noon."""
    account = keys.create_account(engine, "Ada", currency="EUR", clock=at(NOON))
    return keys.create(engine, account.id, name="laptop", expires=expires, clock=at(NOON))


def test_a_key_speaks_for_its_account_and_for_what_it_was_made_for(engine: Engine) -> None:
    made = issued(engine)
    who = keys.authenticate(engine, made.secret)
    assert who == keys.Principal(made.key.account, "user", "EUR", made.key.id, ("generate", "read"))
    assert who.may("read") and not who.may("admin") and not who.may("review")


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s + "A", str.swapcase, lambda s: "", lambda s: s * 9])
def test_anything_but_the_very_key_is_nobody(engine: Engine, change: "object") -> None:
    assert callable(change)
    assert keys.authenticate(engine, change(issued(engine).secret)) is None


def test_hostile_secrets_are_nobody(engine: Engine) -> None:
    for secret in ("sk-spear-\ud800", "sk-spear-é", "sk-spear-\x00", "x" * 10**6, "sk-spear-' OR 1=1 --"):
        assert keys.authenticate(engine, secret) is None
        assert keys.Doorkeeper(engine).authenticate(secret) is None


def test_the_secret_is_kept_nowhere_and_shown_once(url: str, engine: Engine, tmp_path: Path) -> None:
    made = issued(engine)
    assert made.secret not in repr(made) and made.secret not in str(keys.of_account(engine))
    assert made.secret.startswith(made.key.prefix) and len(made.key.prefix) <= 16
    for path in tmp_path.iterdir():  # the database and its log; empty for PostgreSQL
        assert made.secret.encode() not in path.read_bytes()


def test_two_keys_are_never_alike(engine: Engine) -> None:
    account = keys.create_account(engine, "Ada", currency="EUR").id
    assert len({keys.create(engine, account, name="n").secret for _ in range(20)}) == 20


def test_a_key_stops_at_the_moment_it_expires(engine: Engine) -> None:
    made = issued(engine, expires=NOON + timedelta(hours=1))
    assert keys.authenticate(engine, made.secret, clock=at(NOON + timedelta(minutes=59)))
    assert keys.authenticate(engine, made.secret, clock=at(NOON + timedelta(hours=1))) is None


def test_a_blocked_key_is_nobody_and_stays_blocked_since_the_first_time(engine: Engine) -> None:
    made = issued(engine)
    blocked = keys.block(engine, made.key.id, clock=at(NOON))
    assert keys.block(engine, made.key.id, clock=at(NOON + timedelta(days=1))) == blocked
    assert blocked.blocked == "2026-11-22T12:00:00Z"
    assert keys.authenticate(engine, made.secret) is None


def test_a_rotated_key_works_beside_its_successor_for_the_time_of_grace(engine: Engine) -> None:
    old = issued(engine)
    new = keys.rotate(engine, old.key.id, grace=timedelta(minutes=10), clock=at(NOON))
    during, after = at(NOON + timedelta(minutes=9)), at(NOON + timedelta(minutes=10))
    assert keys.authenticate(engine, old.secret, clock=during)
    assert keys.authenticate(engine, new.secret, clock=during)
    assert keys.authenticate(engine, old.secret, clock=after) is None
    assert keys.authenticate(engine, new.secret, clock=after)
    assert (new.key.name, new.key.scopes, new.key.expires) == (old.key.name, old.key.scopes, None)
    with pytest.raises(InputError, match="blocked, expired or replaced"):
        keys.rotate(engine, old.key.id, grace=timedelta(0), clock=during)


def test_a_scope_that_opened_nothing_is_given_to_no_new_key(engine: Engine) -> None:
    old = issued(engine)
    with pytest.raises(InputError, match="'review' is not a scope: wanted some of generate, read, admin"):
        keys.create(engine, old.key.account, name="n", scopes=("read", "review"))
    with engine.begin() as connection:  # as an earlier version gave it
        connection.execute(tables.keys.update().values(scopes='["read","review"]'))
    (key,) = keys.of_account(engine)
    assert key.scopes == ("read", "review") and keys.authenticate(engine, old.secret)
    assert keys.rotate(engine, key.id, grace=timedelta(0)).key.scopes == ("read",)


def test_a_rotated_key_hands_its_limits_on(engine: Engine) -> None:
    old = issued(engine)
    for measure, span, most in (("budget", "month", 500), ("requests", "minute", 9), ("requests", "minute", 7)):
        limits.set_limit(engine, f"key:{old.key.id}", measure=measure, span=span, most=most, actor="ada")
    for parallel in (3, None):
        limits.set_limit(engine, f"key:{old.key.id}", measure="parallel", most=parallel, actor="ada")
    name = f"key:{keys.rotate(engine, old.key.id, grace=timedelta(0), clock=at(NOON)).key.id}"
    assert limits.of(engine, subject=name) == [
        Limit(name, "budget", "month", 500),
        Limit(name, "requests", "minute", 7),
    ]


def test_rotation_never_lengthens_the_life_of_the_old_key_and_renews_that_of_the_new(engine: Engine) -> None:
    old = issued(engine, expires=NOON + timedelta(hours=1))
    moment = NOON + timedelta(minutes=30)
    new = keys.rotate(engine, old.key.id, grace=timedelta(days=9), clock=at(moment))
    assert new.key.expires == "2026-11-22T13:30:00Z"
    shown = {key.id: key for key in keys.of_account(engine, old.key.account)}
    assert shown[old.key.id].expires == "2026-11-22T13:00:00Z"
    assert shown[old.key.id].replaced_by == new.key.id


def test_there_is_one_first_admin(engine: Engine) -> None:
    made = keys.first_admin(engine, currency="EUR")
    who = keys.authenticate(engine, made.secret)
    assert who and who.role == "admin" and who.may("review")
    with pytest.raises(InputError, match="an administrator already"):
        keys.first_admin(engine, currency="EUR")
    assert [account.role for account in keys.all_accounts(engine)] == ["admin"]


def test_wrong_names_roles_currencies_scopes_and_times_are_refused_in_words(engine: Engine) -> None:
    account = keys.create_account(engine, "Ada", currency="EUR").id
    with pytest.raises(InputError, match="'root' is not a role"):
        keys.create_account(engine, "Eve", currency="EUR", role="root")
    with pytest.raises(InputError, match="three capitals"):
        keys.create_account(engine, "Eve", currency="euro")
    with pytest.raises(InputError, match="is not a name"):
        keys.create_account(engine, "\x1b[2J", currency="EUR")
    with pytest.raises(InputError, match="'write' is not a scope"):
        keys.create(engine, account, name="n", scopes=("read", "write"))
    with pytest.raises(InputError, match="nothing is not a scope"):
        keys.create(engine, account, name="n", scopes=())
    with pytest.raises(InputError, match="would never work"):
        keys.create(engine, account, name="n", expires=NOON, clock=at(NOON))
    with pytest.raises(InputError, match="no account 'ghost'"):
        keys.create(engine, "ghost", name="n")
    with pytest.raises(InputError, match="no key 'key_0'"):
        keys.block(engine, "key_0")


def test_the_doorkeeper_asks_the_database_once_in_a_while_and_forgets_when_told(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, seconds = issued(engine), 1000.0
    monkeypatch.setattr(keys, "time", SimpleNamespace(monotonic=lambda: seconds))
    door = keys.Doorkeeper(engine, seconds=1)
    assert door.authenticate(made.secret)
    keys.block(engine, made.key.id)
    seconds += 0.9
    assert door.authenticate(made.secret), "remembered"
    seconds += 0.2
    assert door.authenticate(made.secret) is None
    patient, other = keys.Doorkeeper(engine, seconds=60), issued(engine)
    assert patient.authenticate(other.secret)
    keys.block(engine, other.key.id)
    patient.forget()
    assert patient.authenticate(other.secret) is None
    assert other.secret not in repr(vars(patient))


def test_the_doorkeeper_remembers_a_bounded_number_and_no_strangers(engine: Engine) -> None:
    door = keys.Doorkeeper(engine, seconds=60, most=2)
    for made in [issued(engine) for _ in range(4)]:
        assert door.authenticate(made.secret)
        assert door.authenticate(keys.PREFIX + "stranger") is None
    assert len(door._known) == 2


def test_a_database_that_cannot_answer_is_not_a_wrong_key(tmp_path: Path, migrated: Path) -> None:
    path = tmp_path / "gone.db"
    path.write_bytes(migrated.read_bytes())
    engine = database.connect(f"sqlite:///{path}")
    made = issued(engine)
    engine.dispose()
    path.write_bytes(b"x" * 8192)
    for part in ("gone.db-wal", "gone.db-shm"):
        (tmp_path / part).unlink(missing_ok=True)
    with pytest.raises(StoreUnavailable):
        keys.authenticate(engine, made.secret)
    with pytest.raises(StoreUnavailable):
        keys.Doorkeeper(engine).authenticate(made.secret)
