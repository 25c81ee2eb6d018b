"""`spearhead people`: who may sign in, added, listed, blocked and given passwords by whoever has the command line."""

import getpass
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine

from spearhead.core.errors import InputError
from spearhead.ledger import keys
from spearhead.provenance import audit
from spearhead.service.studio import people
from spearhead.service.studio.people import Person

ACTOR = "command line"
Told = tuple[dict[str, Any], list[str]]
"""Values for machines, lines for people."""


def add(store: Engine, name: str, *, account: str, currency: str | None, roles: Sequence[str], password: str) -> Told:
    """Add a person to the account of that name, which is made when there is none; the first is the administrator's."""
    before = {one.id for one in keys.all_accounts(store)}
    words: list[str] = []
    secret = None
    people.hash_of(password, name=people.plain(name))  # a weak one leaves no account behind
    payer, issued = keys.payer(store, account, currency=currency)
    if issued is not None:
        secret = issued.secret
        detail = {"account": payer.id, "name": issued.key.name, "scopes": list(issued.key.scopes), "expires": None}
        audit.append(store, actor=ACTOR, action="key made", subject=issued.key.id, detail=detail)
        words.append(f"account {account} ({payer.id}) was made with the first key, which may do everything")
        words.append(f"secret (shown once, keep it): {secret}")
    elif payer.id not in before:
        credit = f"spearhead keys credit --account {shlex.quote(account)}"
        words.append(f"account {account} ({payer.id}) was made; give it credit: {credit} --amount 5.00")
    person = people.add(store, name, account=payer.id, roles=roles, password=password, actor=ACTOR)
    words.append(f"{person.name} may sign in as {', '.join(person.roles)}")
    return {**_values(person), **({"secret": secret} if secret else {})}, words


def listed(store: Engine) -> Told:
    """Everybody."""
    names = {account.id: account.name for account in keys.all_accounts(store)}
    found = people.everyone(store)
    lines = [
        f"{one.name}  {', '.join(one.roles)}  account {names.get(one.account, one.account)}"
        + (f"  blocked {one.blocked}" if one.blocked else "")
        for one in found
    ]
    hint = "nobody yet: spearhead people add NAME --role creator --account NAME"
    return {"people": [_values(one) for one in found]}, lines or [hint]


def block(store: Engine, name: str) -> Told:
    """Let a person in no more."""
    person = people.block(store, name, actor=ACTOR)
    return _values(person), [f"{person.name} is blocked since {person.blocked}, and signed out everywhere"]


def password(store: Engine, name: str, new: str) -> Told:
    """Another password, which also lets a blocked person in again."""
    person = people.set_password(store, name, new, actor=ACTOR)
    return _values(person), [f"{person.name} has a new password, and is signed out everywhere"]


def roles(store: Engine, name: str, given: Sequence[str]) -> Told:
    """Other roles."""
    person = people.set_roles(store, name, given, actor=ACTOR)
    return _values(person), [f"{person.name} is {', '.join(person.roles)} now"]


def ask(*, from_stdin: bool, example: str) -> str:
    """A password: the first line of standard input, or typed twice without being shown.

    `example` is a command that gives it without a terminal.
    """
    if from_stdin:
        return sys.stdin.readline(1024).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InputError(f"there is no terminal to ask for a password: give it on standard input, as in `{example}`")
    first = getpass.getpass("password: ")
    if getpass.getpass("the same again: ") != first:
        raise InputError("the two passwords differ; nothing was changed")
    return first


def _values(person: Person) -> dict[str, Any]:
    return {
        "person": person.id,
        "name": person.name,
        "account": person.account,
        "roles": list(person.roles),
        "blocked": person.blocked,
    }
