"""One answer without a server, through the same engine: reserved, reviewed, labelled, stored and settled alike."""

import asyncio
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spearhead.core import money
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.files import write_whole
from spearhead.core.generation import Delivered, Failed, Held, Refused, Released, Request, Settled, Withheld
from spearhead.engine.open import opened as engine_opened
from spearhead.engine.run import Engine
from spearhead.ledger import journal
from spearhead.ledger import keys as ledger_keys
from spearhead.pipeline.desk import opened
from spearhead.store import releases
from spearhead.store.home import Home

OWN = "own use"
"""The account that answers made at the machine itself are booked to."""


def options(asked: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` as options of a request: numbers and booleans where they are ones, else text.

    >>> options(["brightness=1.2", "top_k=5", "crop=14x14+7+7", "parameters=false"])
    {'brightness': 1.2, 'top_k': 5, 'crop': '14x14+7+7', 'parameters': False}
    """
    found: dict[str, Any] = {}
    for one in asked:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--option {one!r}: wanted NAME=VALUE, as in brightness=1.2")
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        found[name.strip()] = read if isinstance(read, int | float | str) else value
    return found


def generate(
    home: Home,
    model: str,
    words: str,
    *,
    out: Path | None,
    seed: int | None,
    options: Mapping[str, Any] | None = None,
    as_json: bool,
) -> int:
    """Print the answer as it is made, then what was counted; write the labelled file to `out`."""
    if not words.strip():
        raise InputError("the prompt is empty: give your words, or - to read them from standard input")
    return asyncio.run(_generate(home, model, words, out=out, seed=seed, options=options or {}, as_json=as_json))


async def _generate(
    home: Home,
    model: str,
    words: str,
    *,
    out: Path | None,
    seed: int | None,
    options: Mapping[str, Any],
    as_json: bool,
) -> int:
    releases.expected(home)
    opened(home).dispose()
    async with engine_opened(home, models=(model,)) as engine:
        manifest = engine.loaded(model).manifest
        account = await asyncio.to_thread(_account, home, manifest.price.currency)
        request = Request(model, account, f"cli-{secrets.token_hex(12)}", prompt=words, seed=seed, options=options)
        await asyncio.to_thread(_afford, home, engine, request)
        found: dict[str, Any] = {"release": manifest.name, "request": request.key}
        code = 0
        async for event in engine.run(request):
            if isinstance(event, Released) and not as_json:
                print(event.delta, end="", flush=True)
            elif isinstance(event, Delivered):
                found |= {"output": event.output, "text": event.text, "finish": event.finish}
                if out is None and event.file.modality != "text":
                    out = Path(
                        f"{event.output}.{event.file.mime.rpartition('/')[2]}"
                    )  # a picture is no use on a terminal
                if out is not None:
                    write_whole(out, event.file.data)
                    found["file"] = str(out)
            elif isinstance(event, Held):
                code, found["held"] = 1, event.review
            elif isinstance(event, Refused | Withheld):
                code, found["refused"] = 1, [str(finding.reason) for finding in event.verdict.findings]
            elif isinstance(event, Failed):
                raise SpearheadError(event.reason)
            elif isinstance(event, Settled):
                receipt = event.receipt
                found |= {
                    "prompt_units": receipt.usage.prompt,
                    "completion_units": receipt.usage.completion,
                    "amount": money.show(receipt.amount),
                    "currency": receipt.currency,
                    "unit": manifest.price.unit,
                }
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print()
        print("\n".join(_lines(found)), file=sys.stderr)
    return code


def _lines(found: dict[str, Any]) -> list[str]:
    out = []
    if "refused" in found:
        out.append(f"refused by review: {'; '.join(found['refused'])}")
    if "held" in found:
        out.append(f"held for a person: {found['held']}")
    if "amount" in found:
        units = f"{found['prompt_units']} + {found['completion_units']} {found['unit']}s"
        out.append(f"{found['release']}: {units}, {found['amount']} {found['currency']}")
    if "file" in found:
        out.append(f"labelled file: {found['file']}  (spearhead verify, spearhead trace)")
    return out


def _account(home: Home, currency: str) -> str:
    store = opened(home)
    try:
        for account in ledger_keys.all_accounts(store):
            if account.name == OWN and account.currency == currency:
                return account.id
        return ledger_keys.create_account(store, OWN, currency=currency).id
    finally:
        store.dispose()


def _afford(home: Home, engine: Engine, request: Request) -> None:
    """Own use is paid for by a credit of exactly what is missing, so that the books show it like any other."""
    wanted = engine.prepare(request).reserved
    store = opened(home)
    try:
        missing = wanted - journal.balance(store, request.account).available
        if missing > 0:
            journal.credit(store, request.account, missing, key=f"own:{request.key}")
    finally:
        store.dispose()
