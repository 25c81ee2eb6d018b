"""The operator's desk: accounts, keys, credit, and the database's copies. Shows a secret once and never logs it."""

import argparse
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from spearhead.core import money
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.ledger import groups, journal
from spearhead.ledger import keys as ledger_keys
from spearhead.pipeline.told import Told, table
from spearhead.provenance import audit
from spearhead.store import database
from spearhead.store.database import reading, writing
from spearhead.store.home import Home

DEMO = "demo"
ACTOR = "command line"
"""Who did it, in the audit log."""
MOST_DAYS = 36_500
"""Days until a key or a grant may end: a hundred years."""


def opened(home: Home) -> Engine:
    """The one database, made or brought to the newest schema."""
    home.root.mkdir(parents=True, exist_ok=True)
    database.migrate(home.database_url)
    return database.connect(home.database_url)


def keys(home: Home, options: argparse.Namespace) -> Told:
    """`spearhead keys ACTION`."""
    engine = opened(home)
    looks = {"list": _list, "balance": _balance}
    if options.action in looks:
        with reading(engine) as connection:
            return looks[options.action](connection, options)
    actions = {"create": _create, "rotate": _rotate, "block": _block, "credit": _credit}
    with writing(engine) as connection:
        return actions[options.action](connection, options)


def write_down(
    store: Engine | Connection, action: str, subject: str, detail: dict[str, Any], *, clock: Clock = now
) -> None:
    """What a command changed, into the audit log; on a connection, with the change itself or not at all."""
    audit.append(store, actor=ACTOR, action=action, subject=subject, detail=detail, clock=clock)


def _create(connection: Connection, options: argparse.Namespace) -> Told:
    life = days(options)
    expires = now() + life if life else None
    account, issued = ledger_keys.payer(
        connection, options.account, currency=options.currency, key=options.name, expires=expires
    )
    if issued is None:
        scopes = tuple(options.scope) or ledger_keys.USUAL
        issued = ledger_keys.create(connection, account.id, name=options.name, scopes=scopes, expires=expires)
    elif options.scope:
        raise InputError("--scope: the first key may do everything; leave it out, and make the next one with it")
    _made(connection, issued.key)
    hint = f"give it credit: spearhead keys credit --account {shlex.quote(account.name)} --amount 5.00"
    return _issued(issued, hint)


def _made(store: Engine | Connection, key: ledger_keys.Key) -> None:
    """A new key, into the audit log; never its secret."""
    detail = {"account": key.account, "name": key.name, "scopes": list(key.scopes), "expires": key.expires}
    write_down(store, "key made", key.id, detail)


def _issued(issued: ledger_keys.Issued, hint: str) -> Told:
    key = issued.key
    words = [
        f"key {key.id} ({key.name}) of account {key.account}: {', '.join(key.scopes)}"
        + (f", until {key.expires}" if key.expires else ""),
        f"secret (shown once, keep it): {issued.secret}",
        hint,
    ]
    values = {
        "key": key.id,
        "account": key.account,
        "name": key.name,
        "secret": issued.secret,
        "expires": key.expires,
    }
    return Told(values, words)


def _list(connection: Connection, options: argparse.Namespace) -> Told:
    names = {account.id: account.name for account in ledger_keys.all_accounts(connection)}
    rows, values, moment = [], [], stamp(now())
    for key in ledger_keys.of_account(connection):
        state = "blocked" if key.blocked else "replaced" if key.replaced_by else "works"
        if state == "works" and key.expires is not None and key.expires <= moment:
            state = "expired"
        rows.append(
            [key.id, names.get(key.account, key.account), key.name, key.prefix + "…", state, key.expires or "never"]
        )
        values.append({"key": key.id, "account": key.account, "name": key.name, "state": state, "expires": key.expires})
    if not rows:
        return Told({"keys": []}, ["no keys yet: spearhead keys create"])
    return Told({"keys": values}, table(["key", "account", "name", "begins", "state", "expires"], rows))


def _rotate(connection: Connection, options: argparse.Namespace) -> Told:
    grace = days(options) or timedelta(days=1)
    issued = ledger_keys.rotate(connection, _key(options), grace=grace)
    write_down(connection, "key rotated", _key(options), {"to": issued.key.id, "days": grace.days})
    old = next(key for key in ledger_keys.of_account(connection) if key.id == _key(options))
    return _issued(issued, f"the old key works until {old.expires}")


def _block(connection: Connection, options: argparse.Namespace) -> Told:
    key = ledger_keys.block(connection, _key(options))
    write_down(connection, "key blocked", key.id, {"account": key.account})
    return Told({"key": key.id, "blocked": key.blocked}, [f"{key.id} is blocked since {key.blocked}"])


def _key(options: argparse.Namespace) -> str:
    if not options.key:
        raise InputError("which key? Give --key ID; `spearhead keys list` shows them")
    return str(options.key)


def days(options: argparse.Namespace) -> timedelta | None:
    """What --days gives; None when it is left out or 0."""
    if not 0 <= options.days <= MOST_DAYS:
        raise InputError(f"--days {options.days}: wanted 1 to {MOST_DAYS:,}, or 0 for no end")
    return timedelta(days=options.days) if options.days else None


def amount(options: argparse.Namespace) -> int:
    """What --amount gives, in billionths."""
    if not options.amount:
        raise InputError("how much? Give --amount, as in --amount 5.00")
    try:
        value = money.parse(options.amount)
    except ValueError as error:
        raise InputError(f"--amount: {error}") from error
    if not 0 < value <= groups.MOST:
        raise InputError(f"--amount {options.amount}: wanted more than 0 and at most {money.show(groups.MOST)}")
    return value


def _credit(connection: Connection, options: argparse.Namespace) -> Told:
    value = amount(options)
    account = account_named(connection, options.account)
    once = options.once or f"cli:{now().isoformat()}"
    before = journal.balance(connection, account.id).available
    journal.credit(connection, account.id, value, key=f"credit:{account.id}:{once}")
    if journal.balance(connection, account.id).available == before:
        return _balance(connection, options)  # given before under the same word: nothing happened
    detail = {"amount": value, "currency": account.currency, "once": once}
    write_down(connection, "credit given", account.id, detail)
    return _balance(connection, options)


def _balance(connection: Connection, options: argparse.Namespace) -> Told:
    account = account_named(connection, options.account)
    held = journal.balance(connection, account.id)
    available, reserved = money.show(held.available), money.show(held.reserved)
    values = {"account": account.id, "currency": held.currency, "available": available, "reserved": reserved}
    return Told(values, [f"{account.name}: {available} {held.currency} available, {reserved} reserved"])


def account_named(engine: Engine | Connection, name: str) -> ledger_keys.Account:
    """The account of that name or id; raises InputError when there is none."""
    accounts = ledger_keys.all_accounts(engine)
    for account in accounts:
        if name in (account.name, account.id):
            return account
    there = ", ".join(account.name for account in accounts) or "none"
    raise InputError(
        f"there is no account {name!r} (`spearhead keys create --account NAME` makes one); there are: {there}"
    )


def demo_key(home: Home, currency: str) -> str:
    """A new key of the account `demo` with one unit of credit, for the demo's single question."""
    engine = opened(home)
    accounts = ledger_keys.all_accounts(engine)
    known = [account for account in accounts if account.name == DEMO and account.currency == currency]
    account = known[0] if known else ledger_keys.create_account(engine, DEMO, currency=currency)
    before = journal.balance(engine, account.id).available
    journal.credit(engine, account.id, money.BILLION, key=f"credit:{account.id}:demo")  # the first demo's alone
    if journal.balance(engine, account.id).available != before:
        detail = {"amount": money.BILLION, "currency": currency, "once": DEMO}
        write_down(engine, "credit given", account.id, detail)
    issued = ledger_keys.create(engine, account.id, name=DEMO, expires=now() + timedelta(hours=1))
    _made(engine, issued.key)
    return issued.secret


def store(home: Home, action: str, file: Path | None) -> Told:
    """`spearhead store backup|restore|migrate`."""
    if action == "migrate":
        opened(home)
        return Told({"migrated": home.database_url}, ["the database has the newest schema"])
    if file is None:
        raise InputError(f"store {action}: name the backup's file")
    if action == "backup":
        database.backup(home.database_url, file)
        return Told({"backup": str(file)}, [f"wrote {file}"])
    home.root.mkdir(parents=True, exist_ok=True)
    kept = database.restore(file, home.database_url)
    words = [f"restored {file}"] + ([f"what was there is kept in {kept}"] if kept else [])
    return Told({"restored": str(file), "kept": str(kept) if kept else None}, words)
