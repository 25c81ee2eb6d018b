"""Promises of the register of people."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from spearhead.core.errors import InputError
from spearhead.ledger import keys
from spearhead.provenance import audit
from spearhead.service.studio import people, register
from spearhead.store import database, tables

GOOD = "four words that differ"


@pytest.fixture
def store(tmp_path: Path) -> sa.Engine:
    url = f"sqlite:///{tmp_path / 'spearhead.db'}"
    database.migrate(url)
    return database.connect(url)


def test_the_first_person_comes_with_the_first_account_and_its_key(store: sa.Engine) -> None:
    values, lines = register.add(
        store, "Ada", account="studio", currency="EUR", roles=["operator", "creator"], password=GOOD
    )
    assert values["name"] == "ada" and values["roles"] == ["creator", "operator"]
    assert any(values["secret"] in line for line in lines)
    account = keys.all_accounts(store)[0]
    assert (account.name, account.role, account.currency) == ("studio", "admin", "EUR")
    principal = keys.authenticate(store, values["secret"])
    assert principal is not None and principal.may("admin")
    with pytest.raises(InputError, match="the account 'studio' is in EUR, and stays so: not in USD"):
        register.add(store, "bob", account="studio", currency="USD", roles=["reviewer"], password=GOOD)
    again, _ = register.add(store, "bob", account="studio", currency=None, roles=["reviewer"], password=GOOD)
    assert again["account"] == account.id and "secret" not in again
    assert [one.name for one in people.everyone(store)] == ["ada", "bob"]


def test_a_weak_password_leaves_neither_person_nor_account(store: sa.Engine) -> None:
    for weak in ("short", "aaaaaaaaaaaaaaaa", "x" * 201, "grace-hopper99"):
        with pytest.raises(InputError, match="password"):
            register.add(store, "grace-hopper", account="new", currency="USD", roles=["creator"], password=weak)
    assert keys.all_accounts(store) == [] and people.everyone(store) == []


@pytest.mark.parametrize(
    ("name", "roles", "said"),
    [
        ("", ["creator"], "no name"),
        ("two words", ["creator"], "no name"),
        ("x" * 65, ["creator"], "no name"),
        ("a\nb", ["creator"], "no name"),
        ("ada", [], "no role"),
        ("ada", ["owner"], "no role"),
        ("ＢＯＢ", ["creator"], "already"),
    ],
)
def test_what_cannot_be_a_person_is_refused_in_words(store: sa.Engine, name: str, roles: list[str], said: str) -> None:
    account = keys.create_account(store, "a", currency="USD").id
    people.add(store, "bob", account=account, roles=["creator"], password=GOOD, actor="test")
    with pytest.raises(InputError, match=said):
        people.add(store, name, account=account, roles=roles, password=GOOD, actor="test")


def test_a_password_is_kept_as_argon2id_and_no_word_of_it_anywhere(store: sa.Engine) -> None:
    account = keys.create_account(store, "a", currency="USD").id
    people.add(store, "ada", account=account, roles=["creator"], password=GOOD, actor="test")
    with database.reading(store) as connection:
        found = people.hash_in_store(connection, "ADA ")
        everything = str(connection.execute(sa.select(tables.people)).all())
        everything += str(connection.execute(sa.select(tables.audit)).all())
    assert found is not None and found[1].startswith("$argon2id$")
    assert GOOD not in everything
    assert people.right(GOOD, found[1])
    assert people.right("ｆour words that differ", found[1])  # another keyboard, the same letters
    assert not people.right(GOOD + " ", found[1])
    assert not people.right(GOOD, None) and not people.right(GOOD, "damaged")
    assert people.hash_of(GOOD, name="x") != people.hash_of(GOOD, name="x")  # salted


def test_blocking_and_a_new_password_end_every_session_and_are_written_down(store: sa.Engine) -> None:
    account = keys.create_account(store, "a", currency="USD").id
    person = people.add(store, "ada", account=account, roles=["creator"], password=GOOD, actor="test")

    def sign_in(secret: str) -> None:
        with database.writing(store) as connection:
            connection.execute(
                tables.sessions.insert().values(hash=secret, person=person.id, created="", seen="", expires="")
            )

    def sessions() -> int:
        with database.reading(store) as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(tables.sessions)).scalar_one())

    sign_in("one")
    blocked = people.block(store, "ada", actor="test")
    assert blocked.blocked is not None and people.block(store, "ada", actor="test") == blocked
    assert sessions() == 0
    sign_in("two")
    assert people.set_password(store, "ada", GOOD + "!", actor="test").blocked is None
    assert sessions() == 0
    assert people.set_roles(store, "ada", ["auditor"], actor="test").roles == ("auditor",)
    with database.reading(store) as connection:
        written = list(connection.scalars(sa.select(tables.audit.c.action).order_by(tables.audit.c.id)))
    assert written == ["person added", "person blocked", "password set", "roles set"]
    assert audit.verify(store) is None


def test_a_change_of_password_yields_to_what_happened_meanwhile(store: sa.Engine) -> None:
    register.add(store, "ada", account="studio", currency="USD", roles=["creator"], password=GOOD)
    with store.connect() as connection:
        found = people.hash_in_store(connection, "ada")
    assert found is not None
    person, was = found

    def change(new: str) -> bool:
        hashed = people.hash_of(new, name="ada")
        with store.begin() as connection:
            return people.change_password(connection, person, was=was, hashed=hashed, session="s")

    people.set_password(store, "ada", "given by an operator", actor="test")
    assert not change("another four words entirely"), "the operator's stays"
    people.block(store, "ada", actor="test")
    with store.begin() as connection:
        connection.execute(tables.people.update().values(password=was))
    assert not change("another four words entirely") and people.named(store, "ada").blocked
    with store.connect() as connection:
        assert "password changed" not in connection.scalars(sa.select(tables.audit.c.action)).all()
