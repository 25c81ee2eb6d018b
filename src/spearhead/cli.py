"""The command line: one short function a verb. Parses and prints; everything heavy is imported inside the verb."""

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from spearhead import __version__
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.sentence import LANGUAGES

EXIT_CODES = "exit codes: 0 done, 1 failed, 2 what you gave is wrong, 3 a bar was missed"
SPINS = "1000"
"""How often a thread of torch's looks whether there is more to do before it sleeps; its own default is 300,000."""

STARVED = "memory ran out: take less at once (training.micro_tokens, training.micro_batch) or a smaller model"

Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; a mistake is one line on stderr, never a traceback."""
    words = sys.argv[1:] if argv is None else argv
    if "OMP_WAIT_POLICY" not in os.environ:  # read when torch is: see docs/decisions/0006-training.md
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    options = argparse.Namespace(json="--json" in words)
    try:
        options = parser().parse_args(words)
        return int(options.run(options))
    except SpearheadError as error:
        return _complain(options, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain(options, "stopped; the same command goes on where it was cut off", 1)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _complain(options, f"{place}{error.strerror or error}", 1)
    except (MemoryError, RuntimeError) as error:
        if not _starved(error):
            raise
        return _complain(options, f"{STARVED} ({str(error).splitlines()[0][:200] if str(error) else 'MemoryError'})", 1)


def _starved(error: Exception) -> bool:
    """Whether there was not enough memory, as Python, torch on a processor and torch on a card say it."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or "allocate memory" in str(error)


class _Parser(argparse.ArgumentParser):
    """Words that make no sense are a mistake like any other: one line, in JSON too where that is asked for."""

    def error(self, message: str) -> NoReturn:
        if found := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)$", message):
            import difflib

            known = re.findall(r"[\w-]+", found[2])
            near = difflib.get_close_matches(found[1], known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"wanted one of {', '.join(known)}"
            message = f"{message[: found.start()]}{found[1]!r} is unknown; {hint}"
        raise InputError(f"{self.prog.partition(' ')[2] or 'usage'}: {message}; see {self.prog} --help")


def _complain(options: argparse.Namespace, message: str, code: int) -> int:
    if getattr(options, "json", False):
        print(json.dumps({"error": message, "exit_code": code}, ensure_ascii=False))
    print(f"spearhead: {message}", file=sys.stderr)
    return code


def show(options: argparse.Namespace, value: Any, lines: Sequence[str] | str) -> int:
    """Print `value` as JSON with --json, else the lines made for a person."""
    if options.json:
        print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
    else:
        print(lines if isinstance(lines, str) else "\n".join(lines))
    return 0


# -- scenario ----------------------------------------------------------------------------------------------------
def new(options: argparse.Namespace) -> int:
    from spearhead.scenario import album, corpus, read, scaffold
    from spearhead.scenario import table as tables

    folder = scaffold.new(
        options.name,
        into=options.into,
        template=options.template,
        table=options.data,
        columns=options.columns,
        family=options.family,
        licence=options.licence,
        credit=options.credit,
    )
    made = read.load(folder).scenario
    (source,), languages = made.data.sources, made.scenario.languages
    if options.data and corpus.holds(options.data, family=options.family):
        texts = corpus.look(options.data)
        values = {
            "scenario": str(folder),
            "data": source.path,
            "texts": texts.texts,
            "characters": texts.characters,
            "records": texts.records,
            "reader": texts.reader,
            "aside": dict(texts.aside),
            "left_out": texts.left_out,
            "languages": languages,
        }
        place = source.path if source.encoding == "utf-8" else f"{source.path} (in {source.encoding})"
        lines = [f"made {folder}", f"learns from {place}: {texts.told}"]
        lines += [f"left aside, no {' or '.join(corpus.ENDINGS)} file: {texts.left}"] if texts.aside else []
        lines += [texts.left_out] if texts.left_out else []
        told_by = "as the texts are" if texts.languages else "the texts do not tell"
        lines.append(f"scenario.languages: {', '.join(languages)} ({told_by}; change it where that is wrong)")
        return show(options, values, [*lines, f"next: spearhead run {folder} --preset quick"])
    if options.data and album.holds(options.data):
        seen = album.look(options.data)
        values = {
            "scenario": str(folder),
            "data": source.path,
            "classes": dict(seen.classes),
            "aside": dict(seen.aside),
        }
        lines = [f"made {folder}", f"learns from {source.path}: {seen.told}"]
        lines += [f"left aside, no PNG, JPEG or WebP picture: {seen.left}"] if seen.aside else []
        return show(options, values, [*lines, f"next: spearhead run {folder} --preset quick"])
    found = tables.shape(options.data or folder / source.path, named=options.columns)
    told = source.path or source.dataset
    aside = found.aside
    values = {
        "scenario": str(folder),
        "data": told,
        "columns": dict(source.columns),
        "aside": aside,
        "left_out": found.left_out,
        "languages": languages,
    }
    place = told if source.encoding == "utf-8" else f"{told} (in {source.encoding})"
    learns = f"learns from {place}: {found.told}"
    lines = [f"made {folder}", learns, *([f"left aside: {', '.join(aside)}"] if aside else [])]
    lines += [found.left_out] if found.left_out else []
    if options.data:
        told_by = "as its answers are" if found.languages else "its answers do not tell"
        lines.append(f"scenario.languages: {', '.join(languages)} ({told_by}; change it where that is wrong)")
    if set(languages) != {"en"}:
        lines.append("the base model, SmolLM2-135M, knows little but English: [model.base] can name another")
    return show(options, values, [*lines, f"next: spearhead run {folder} --preset quick"])


def check(options: argparse.Namespace) -> int:
    from spearhead.scenario import read

    if options.schema:
        print(json.dumps(read.json_schema(), indent=2, ensure_ascii=False))
        return 0
    if options.scenario is None:
        raise InputError("check: name a scenario, as in `spearhead check scenarios/modern-english`, or give --schema")
    loaded = read.load(options.scenario, preset=options.preset, changes=tuple(options.set))
    lines = [f"{options.scenario}: {loaded.scenario.scenario.title!r} is a valid scenario"]
    if loaded.derived:
        told = ", ".join(f"{name} {value:,}" for name, value in loaded.derived.items())
        lines.append(f"training, where it says nothing: {told} (they follow from the model's size)")
    lines.append(_next("data", options))
    found = {"scenario": loaded.scenario.name, "digest": loaded.digest, "valid": True, "derived": dict(loaded.derived)}
    return show(options, found, lines)


# -- the road ----------------------------------------------------------------------------------------------------
def _road(options: argparse.Namespace, until: str) -> int:
    from spearhead.pipeline import road
    from spearhead.pipeline.show import drive
    from spearhead.training import launch

    loaded = _loaded(options)
    if until != "data" and launch.rank():
        drive(road.share(loaded, home=_home(options)), quiet=True)
        return 0
    outcome = drive(road.walk(loaded, home=_home(options), until=until), quiet=options.quiet)
    lines = outcome.lines()
    if not outcome.exit_code:
        scenario = loaded.scenario
        if outcome.release:
            lines += outcome.after_release().splitlines()
        elif until == "train" and (why := scenario.family.unservable(scenario.family_config)):
            lines.append(f"nothing is released of it: {why}")
        else:
            lines.append(_next("run", options))
    show(options, outcome.as_dict(), lines)
    return outcome.exit_code


def _next(verb: str, options: argparse.Namespace) -> str:
    """The command that goes on from here, over the same scenario with the same preset and changes."""
    preset = ["--preset", options.preset] if options.preset else []
    changes = [word for change in _changes(options) for word in ("--set", change)]
    return "next: " + shlex.join(["spearhead", verb, str(options.scenario), *preset, *changes])


def data(options: argparse.Namespace) -> int:
    if str(options.scenario) == "withdraw":
        from spearhead.pipeline import withdrawal

        if not options.of:
            raise InputError("data withdraw: name a record by its id, as the data files and `spearhead trace` tell it")
        done = withdrawal.withdraw(_home(options), options.of, reason=options.reason)
        return show(options, done.as_dict(), done.lines())
    if str(options.scenario) == "purge":
        from spearhead.pipeline import withdrawal

        done = withdrawal.purge(_home(options))
        return show(options, done.as_dict(), done.lines())
    if str(options.scenario) == "from-review":
        from spearhead.pipeline import preferences

        if not options.of:
            raise InputError("data from-review: name a scenario, as in `spearhead data from-review modern-english`")
        out = options.out or Path("preferences.jsonl")
        done = preferences.from_review(
            _home(options), options.of, out=out, licence=options.licence, credit=options.credit
        )
        return show(options, done.as_dict(), done.lines())
    if options.scenario is None or options.of:
        raise InputError("data: name a scenario, as in `spearhead data scenarios/modern-english`")
    return _road(options, "data")


def train(options: argparse.Namespace) -> int:
    return _road(options, "train")


def evaluate(options: argparse.Namespace) -> int:
    if options.release or options.endpoint:
        from spearhead.pipeline.elsewhere import elsewhere
        from spearhead.pipeline.show import drive

        work = elsewhere(_loaded(options), home=_home(options), release=options.release, endpoint=options.endpoint)
        result = drive(work, quiet=options.quiet)
        return show(options, result.as_dict(), result.lines())
    return _road(options, "evaluate")


def release(options: argparse.Namespace) -> int:
    if options.action:
        from spearhead.pipeline import shelf

        done = shelf.act(_home(options), options.action, str(options.scenario), keep=options.keep)
        return show(options, done.as_dict(), done.lines())
    return _road(options, "release")


def run(options: argparse.Namespace) -> int:
    return _road(options, "report")


def search(options: argparse.Namespace) -> int:
    from spearhead.pipeline import search as searching
    from spearhead.pipeline.show import drive

    work = searching.search(
        options.scenario,
        home=_home(options),
        over=[searching.field(one) for one in options.over],
        trials=options.trials,
        preset=options.preset,
        changes=_changes(options),
    )
    found = drive(work, quiet=options.quiet)
    return show(options, found.as_dict(), found.lines())


def demo(options: argparse.Namespace) -> int:
    from spearhead.pipeline import demo as whole

    return whole.run(_loaded(options), home=_home(options), quiet=options.quiet, as_json=options.json)


def report(options: argparse.Namespace) -> int:
    from spearhead.pipeline import shelf

    path = shelf.report_of(_home(options), str(options.scenario), options.language)
    return show(options, {"report": str(path)}, str(path))


# -- serving ------------------------------------------------------------------------------------------------------
def generate(options: argparse.Namespace) -> int:
    from spearhead.pipeline import once

    words = options.prompt if options.prompt != "-" else sys.stdin.read()
    asked = once.options(options.option)
    return once.generate(
        _home(options), options.model, words, out=options.out, seed=options.seed, options=asked, as_json=options.json
    )


def serve(options: argparse.Namespace) -> int:
    from spearhead.service.serve import serve as serving

    return serving(_home(options), host=options.host, port=options.port, models=tuple(options.model))


def keys(options: argparse.Namespace) -> int:
    from spearhead.pipeline import desk

    done = desk.keys(_home(options), options)
    return show(options, done.as_dict(), done.lines())


def people(options: argparse.Namespace) -> int:
    from spearhead.pipeline import desk
    from spearhead.service.studio import register

    engine = desk.opened(_home(options))
    if options.action != "list" and not options.name:
        raise InputError(f"people {options.action}: name the person")
    if options.action in ("add", "password"):
        roles = [word for role in options.role for word in ("--role", role)]
        again = shlex.join(["spearhead", "people", options.action, options.name, *roles, "--password-stdin"])
        password = register.ask(from_stdin=options.password_stdin, example=f"{again} < password.txt")
    match options.action:
        case "add":
            account, coin = options.account, options.currency
            done = register.add(
                engine, options.name, account=account, currency=coin, roles=options.role, password=password
            )
        case "list":
            done = register.listed(engine)
        case "block":
            done = register.block(engine, options.name)
        case "password":
            done = register.password(engine, options.name, password)
        case _:
            done = register.roles(engine, options.name, options.role)
    return show(options, *done)


def erase(options: argparse.Namespace) -> int:
    from spearhead.pipeline import erase as erasing

    done = erasing.erase(
        _home(options),
        output=options.output,
        account=options.account,
        older_than=options.older_than,
        keep=options.keep,
        reason=options.reason,
        sure=options.yes,
    )
    return show(options, done.as_dict(), done.lines())


def withdraw(options: argparse.Namespace) -> int:
    from spearhead.pipeline import recall

    done = recall.withdraw(_home(options), options.output, reason=options.reason, refund=options.refund)
    return show(options, done.as_dict(), done.lines())


def policy(options: argparse.Namespace) -> int:
    from spearhead.pipeline import policies

    done = policies.policies(_home(options), options.scenario, template=options.template, file=options.file)
    return show(options, done.as_dict(), done.lines())


def bill(options: argparse.Namespace) -> int:
    from spearhead.pipeline import bill as billing

    done = billing.bill(_home(options), options)
    show(options, done.as_dict(), done.lines())
    return done.exit_code


def store(options: argparse.Namespace) -> int:
    from spearhead.pipeline import desk

    done = desk.store(_home(options), options.action, options.file)
    return show(options, done.as_dict(), done.lines())


# -- trust --------------------------------------------------------------------------------------------------------
def trace(options: argparse.Namespace) -> int:
    from spearhead.pipeline import trust

    found = trust.trace(_home(options), options.file)
    show(options, found.as_dict(), found.lines())
    return found.exit_code


def verify(options: argparse.Namespace) -> int:
    from spearhead.pipeline import trust

    found = trust.verify(_home(options), options.file)
    show(options, found.as_dict(), found.lines())
    return found.exit_code


def signing(options: argparse.Namespace) -> int:
    from spearhead.pipeline import certificates

    done = certificates.act(_home(options), options.action, chain=options.chain, key=options.key)
    return show(options, done.as_dict(), done.lines())


def audit(options: argparse.Namespace) -> int:
    from spearhead.pipeline import log

    found = log.act(_home(options), options.action, options.file, out=options.out, last=options.last)
    show(options, found.as_dict(), found.lines())
    return found.exit_code


def doctor(options: argparse.Namespace) -> int:
    from spearhead.pipeline import health

    found = health.look(_home(options), purpose=options.purpose)
    show(options, found.as_dict(), found.lines())
    return found.exit_code


def _loaded(options: argparse.Namespace) -> Any:
    from spearhead.scenario import read

    return read.load(options.scenario, preset=options.preset, changes=_changes(options))


def _changes(options: argparse.Namespace) -> tuple[str, ...]:
    """What the flags change of the scenario file."""
    changes = list(options.set)
    if getattr(options, "device", None):
        changes.append(f'training.device="{options.device}"')
    if (minutes := getattr(options, "time_budget", None)) is not None:
        changes.append(f"training.minutes={minutes}")
    return tuple(changes)


def _home(options: argparse.Namespace) -> Any:
    from spearhead.store.home import Home

    return Home.find(options.home)


# -- the words -----------------------------------------------------------------------------------------------------
def parser() -> argparse.ArgumentParser:
    """Every verb and option."""
    root = _Parser(
        prog="spearhead",
        description="One generation scenario from licensed data to a labelled, measured, billed answer.",
        epilog=EXIT_CODES,
    )
    root.add_argument("--version", action="version", version=__version__)
    verbs = root.add_subparsers(title="verbs", required=True, metavar="VERB")

    def verb(name: str, call: Run, words: str) -> argparse.ArgumentParser:
        it = verbs.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".", epilog=EXIT_CODES)
        it.set_defaults(run=call)
        it.add_argument("--home", type=Path, help="where everything lies (default: $SPEARHEAD_HOME or .spearhead)")
        it.add_argument("--json", action="store_true", help="answer as JSON")
        it.add_argument("--quiet", action="store_true", help="no progress")
        return it

    def scenario(it: argparse.ArgumentParser, *, optional: bool = False) -> None:
        it.add_argument("scenario", type=Path, nargs="?" if optional else None, help="folder of a scenario.toml")
        it.add_argument("--preset", default="", help="one of the scenario's presets")
        it.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key, as in training.steps=20"
        )

    def trains(it: argparse.ArgumentParser) -> None:
        scenario(it)
        it.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), help="where to train")
        it.add_argument(
            "--time-budget", type=float, metavar="MINUTES", help="end training after so long, with its best weights"
        )

    it = verb("new", new, "make a scenario that runs, over sample data, your own table, pictures or texts")
    it.add_argument("name", help="lower-case letters, digits and dashes")
    it.add_argument("--into", type=Path, default=Path("scenarios"), help="folder to make it in (default: scenarios)")
    it.add_argument("--template", default="", help="a review template and sample data of its trade, as in finance")
    it.add_argument(
        "--data",
        type=Path,
        help="pairs, conversations, preferences or texts: a csv, tsv, jsonl, json or parquet file, or a folder that "
        "`datasets` saved; a folder of pictures, in folders of their classes if they have any; a folder of texts "
        "(.txt, .md), or one of them",
    )
    it.add_argument(
        "--columns",
        default="",
        metavar="GIVEN,WANTED",
        help="its two columns, as in question,answer, a third of worse answers, or one of conversations or texts",
    )
    it.add_argument("--family", default="", help="what learns pictures: gan, flow or vae (default: gan), or texts: gpt")
    it.add_argument("--licence", default="", help="SPDX licence of these data; there is no default")
    it.add_argument("--credit", default="", help="whom to credit for them")

    it = verb("check", check, "say whether a scenario file is valid, and if not, what to change")
    scenario(it, optional=True)
    it.add_argument("--schema", action="store_true", help="print the JSON Schema for editors instead")

    it = verb("data", data, "admit the scenario's data and show counts, refusals, licences and samples")
    scenario(it, optional=True)
    it.add_argument(
        "of",
        nargs="?",
        default="",
        help="withdraw: ID of the record to take back, releases that learnt from it are marked and what is left of it "
        "is deleted; purge: delete what a withdrawal left because a run was under way; "
        "from-review: NAME of the scenario whose decisions become pairs",
    )
    it.add_argument("--out", type=Path, help="from-review: the table to write (default: preferences.jsonl)")
    it.add_argument("--licence", default="", help="from-review: SPDX licence of your outputs; there is no default")
    it.add_argument("--credit", default="", help="from-review: whom to credit for them")
    it.add_argument("--reason", default="withdrawn on request", help="withdraw: why")

    trains(verb("train", train, "train or fine-tune the scenario's model"))
    it = verb("evaluate", evaluate, "measure the model, a release or an endpoint beside the trivial baselines")
    trains(it)
    it.add_argument("--release", default="", help="a release, as NAME@VERSION or folder")
    it.add_argument(
        "--endpoint",
        default="",
        help="base URL of an OpenAI-compatible server, as in URL#MODEL ($OPENAI_API_KEY); another model than the "
        "scenario's own is asked by evaluation.base_template",
    )

    it = verb("search", search, "search over fields of the scenario by validation loss; poor trials are cut short")
    trains(it)
    it.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="KEY=LOW..HIGH",
        help="a field and its range, as in training.learning_rate=1e-4..1e-2 or model.rank=4|8|16",
    )
    it.add_argument("--trials", type=int, default=20, help="how many to come to (default: 20)")

    it = verb("release", release, "judge the bars and make a signed release; or promote, rollback, gc, list")
    trains(it)
    it.add_argument(
        "--action",
        choices=("promote", "rollback", "gc", "list"),
        help="act on releases that exist (SCENARIO is NAME or NAME@VERSION)",
    )
    it.add_argument("--keep", type=int, default=3, help="gc: how many versions to keep")

    trains(verb("run", run, "walk the whole road, from where it was cut off"))
    trains(verb("demo", demo, "walk the road, then ask the served release once and show label, trace and receipt"))

    it = verb("report", report, "show the path of a release's report")
    it.add_argument("scenario", help="NAME or NAME@VERSION")
    it.add_argument("--language", choices=LANGUAGES, default=LANGUAGES[0], help="of the report (default: en)")

    it = verb("generate", generate, "answer one prompt with a release, without a server")
    it.add_argument("model", help="NAME or NAME@VERSION")
    it.add_argument("prompt", help="your words, or - to read them")
    it.add_argument("--out", type=Path, help="write the labelled file here")
    it.add_argument("--seed", type=int, help="for a repeatable answer")
    it.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="as in brightness=1.2 or top_k=5"
    )

    it = verb("serve", serve, "serve releases over the OpenAI-compatible API")
    it.add_argument("model", nargs="*", help="scenarios to serve (default: every release that passed)")
    it.add_argument("--host", default="127.0.0.1")
    it.add_argument("--port", type=int, default=8000)

    it = verb("keys", keys, "make, list, rotate and block API keys; grant credit")
    it.add_argument("action", choices=("create", "list", "rotate", "block", "credit", "balance"))
    it.add_argument("--account", default="admin", help="account (default: admin); create makes it when it is missing")
    it.add_argument("--currency", help="create: currency of an account that is made (default: USD)")
    it.add_argument(
        "--scope",
        action="append",
        default=[],
        choices=("generate", "read", "admin"),
        help="create: what the key may do, once for each (default: generate and read; the very first: everything)",
    )
    it.add_argument("--name", default="key", help="what the key is for")
    it.add_argument("--key", default="", help="id of the key, for rotate and block")
    it.add_argument(
        "--days",
        type=int,
        default=0,
        help="create: until it expires (default: never); rotate: that the old key works on (default: 1)",
    )
    it.add_argument("--amount", default="", help="credit in the account's currency, as in 5.00")
    it.add_argument("--once", default="", help="a word that makes this credit once-only")

    it = verb("people", people, "people who may sign in to the studio, their roles and passwords")
    it.add_argument("action", choices=("add", "list", "block", "password", "roles"))
    it.add_argument("name", nargs="?", default="", help="what the person signs in with")
    roles = ("creator", "reviewer", "operator", "auditor")
    it.add_argument("--role", action="append", default=[], choices=roles, help="add, roles: once for each role")
    it.add_argument("--account", default="admin", help="add: which account pays (default: admin; made when missing)")
    it.add_argument("--currency", help="add: currency of an account that is made (default: USD)")
    it.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    it = verb("erase", erase, "erase prompts and outputs, words and files; what was charged stays on record")
    it.add_argument("output", nargs="?", default="", help="its number, as in out_...")
    it.add_argument("--account", default="", help="every output of an account")
    it.add_argument("--older-than", type=int, metavar="DAYS", help="every output made more than so many days ago")
    it.add_argument("--keep", default="", metavar="DAYS", help="from now on erase older ones (`forever`: none)")
    it.add_argument("--reason", default="", help="for the audit log")
    it.add_argument("--yes", action="store_true", help="do not ask where nothing would be left of anybody")

    it = verb("withdraw", withdraw, "take back an output that had left: nobody gets it here any more")
    it.add_argument("output", help="its number or its review's, as in out_... or rev_...")
    it.add_argument("--reason", required=True, help="why; its maker reads it where it went through review")
    it.add_argument("--refund", action="store_true", help="undo its charge too")

    it = verb(
        "policy", policy, "the policy that a scenario is reviewed by; with --template or --file another from now on"
    )
    it.add_argument("scenario", help="its name")
    it.add_argument("--template", default="", help="a policy template, as in finance")
    it.add_argument("--file", type=Path, help="a TOML file with the keys of [review] in a scenario")

    it = verb("bill", bill, "plans, grants, limits, invoices; what an accepted piece really cost")
    deeds = (
        "run rehearse list show pay plans offer subscribe change end grant grants void limit limits team teams correct "
        "check price verdict"
    )
    it.add_argument(
        "action",
        choices=deeds.split(),
        help="run writes every invoice that is due, once; change takes effect with the next period",
    )
    it.add_argument(
        "name", nargs="?", default="", help="of the invoice, plan, grant, team, request, release or scenario"
    )
    it.add_argument("--account", default="", help="whose")
    it.add_argument("--amount", default="", help="in the account's currency, as in 5.00 (pay, grant)")
    it.add_argument("--currency", default="USD", help="offer, price: the currency (default: USD)")
    it.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="offer: as in included=1000000; price: as in prompt=0.10, for a million units",
    )
    it.add_argument("--once", default="", help="a word that makes this payment or grant once-only")
    it.add_argument("--days", type=int, default=0, help="grant: days until it ends (default: never)")
    it.add_argument("--priority", type=int, default=50, help="grant: 0 is used first, 100 last (default: 50)")
    it.add_argument("--promotional", action="store_true", help="grant: it is given away")
    it.add_argument("--subject", default="", help="limit: key:ID, account:ID or team:NAME (default: the account)")
    it.add_argument("--measure", choices=("requests", "tokens", "parallel", "budget"), default="budget", help="limit")
    it.add_argument("--span", choices=("minute", "hour", "day", "month"), default="month", help="limit")
    it.add_argument("--most", default="", help="limit: how much; left out, the limit is lifted")
    it.add_argument("--leave", action="store_true", help="team: take the account out of it")
    it.add_argument("--until", default="", help="rehearse: the day up to which invoices are worked out")
    it.add_argument("--out", type=Path, help="show: write it as .json, .csv or .pdf")
    it.add_argument("--language", choices=LANGUAGES, default=LANGUAGES[0], help="show: of PDF and CSV (default: en)")
    it.add_argument("--pieces", type=int, default=100, help="verdict: accepted pieces that make one (default: 100)")
    it.add_argument("--machine-hour", default="0.05", help="verdict: what an hour of the machine costs (default: 0.05)")
    it.add_argument("--review-minute", default="0", help="verdict: what a minute of review costs (default: 0)")

    it = verb("store", store, "back up, restore or migrate the database")
    it.add_argument("action", choices=("backup", "restore", "migrate"))
    it.add_argument("file", type=Path, nargs="?", help="the backup's file")

    it = verb("trace", trace, "walk from a file back to release, records, licences and credits")
    it.add_argument("file", type=Path)
    it = verb("verify", verify, "say which labels of a file, or which parts of a release, hold")
    it.add_argument("file", type=Path, help="a file that left, or the folder of a release")

    it = verb("signing", signing, "the certificates and keys that files and releases are signed with")
    it.add_argument("action", choices=("make", "show", "install"))
    it.add_argument("--chain", type=Path, help="install: PEM certificates from an authority, the signer's first")
    it.add_argument("--key", type=Path, help="install: PEM of the signer's private key (P-256, not encrypted)")

    it = verb("audit", audit, "say whether the audit log is as it was written; sign how far it has come; show its end")
    it.add_argument("action", choices=("verify", "sign", "show"))
    it.add_argument("file", type=Path, nargs="*", help="verify: signed heads kept elsewhere, beside those kept here")
    it.add_argument("--out", type=Path, help="sign: write the head here (default: audit/head-ROWS.json of the home)")
    it.add_argument("--last", type=int, default=20, help="show: how many rows (default: 20)")

    it = verb("doctor", doctor, "look at this machine and this installation and say what is wrong")
    it.add_argument(
        "purpose",
        nargs="?",
        choices=("serving", "training"),
        help="what the machine is for; what the other wants does not count (default: training, where torch is)",
    )
    return root


if __name__ == "__main__":
    sys.exit(main())
