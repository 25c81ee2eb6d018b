"""Promises about decisions that become training: pairs with rights, and a model that learns from them by the road."""

import json
import random
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.conftest import LABELLED_AND_PRICED

from spearhead import cli
from spearhead.core.clock import now, stamp
from spearhead.core.errors import InputError
from spearhead.core.manifest import Credit
from spearhead.core.review import Decision
from spearhead.data import shapes
from spearhead.engine import outputs
from spearhead.engine.edits import REPLACED
from spearhead.engine.outputs import Output
from spearhead.ledger import keys
from spearhead.models.pretrained import tiny
from spearhead.pipeline import preferences, road
from spearhead.pipeline.show import drive
from spearhead.review import queue
from spearhead.scenario import read
from spearhead.store import database, tables
from spearhead.store.home import Home

MADE_BY = (
    Credit("CC-BY-4.0", "Ann Author", "table", 9, ("train", "share", "sell")),
    Credit("Apache-2.0", "the base", "base", 0, ("train", "share", "sell")),
)


class Desk:
    """An installation whose reviewers decide what the test says."""

    def __init__(self, home: Home, store: sa.Engine) -> None:
        self.home, self.store = home, store
        self.account = keys.create_account(store, "a", currency="USD").id
        self.made = 0

    def held(self, text: str, *, prompt: str = "q", release: str = "tiny@v1", **changes: Any) -> Output:
        """A text that waits for a person."""
        self.made += 1
        row = Output(
            id=f"out_{self.made}",
            request=f"r{self.made}",
            account=self.account,
            release=release,
            state="held",
            text=text,
            finish="stop",
            findings="[]",
            policy="p",
            options="{}",
            seed=None,
            completion_units=1,
            created=stamp(now()),
            review=f"rev_{self.made}",
            blob="b" * 64,
            prompt=outputs.prompt_text([{"role": "user", "content": prompt}]),
        )
        row = Output(**{**{name: getattr(row, name) for name in Output.__slots__}, **changes})
        with database.writing(self.store) as connection:
            outputs.insert(connection, row)
            queue.create(
                connection, Decision.HOLD, scenario="tiny", policy="p", blob=row.blob, output=row.id, review=row.review
            )
        return row

    def approved(self, text: str, **more: Any) -> Output:
        """A text that a person approved and that has left."""
        row = self.held(text, **more)
        assert row.review and queue.claim(self.store, reviewer="ada", review=row.review)
        queue.approve(self.store, row.review, reviewer="ada", blob="b" * 64)
        queue.release(self.store, row.review)
        return row

    def rejected(self, text: str, *, reason: str = "clumsy", **more: Any) -> Output:
        """A text that a person rejected."""
        row = self.held(text, **more)
        assert row.review and queue.claim(self.store, reviewer="ada", review=row.review)
        queue.reject(self.store, row.review, reviewer="ada", reason=reason)
        return row

    def erase(self, row: Output, **values: Any) -> None:
        """What retention does."""
        with database.writing(self.store) as connection:
            connection.execute(tables.outputs.update().where(tables.outputs.c.id == row.id).values(**values))

    def pairs(self, **more: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The table, and what is said of it."""
        out = self.home.root / "pairs.jsonl"
        told = preferences.from_review(self.home, "tiny", out=out, licence="LicenseRef-Proprietary-Own", **more)
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()], told.as_dict()


@pytest.fixture
def desk(tmp_path: Path, make_release: Callable[..., Path]) -> Any:
    """A desk over one release that stands on two licences."""
    home = Home(tmp_path / "home", tmp_path / "cache")
    make_release(home.releases, credits=MADE_BY)
    database.migrate(home.database_url)
    store = database.connect(home.database_url)
    yield Desk(home, store)
    store.dispose()


def test_decisions_become_pairs_within_one_prompt_with_the_releases_rights(desk: Desk) -> None:
    good, bad = desk.approved("good"), desk.rejected("bad")
    desk.rejected("worse")
    desk.approved("elsewhere", prompt="another question")  # nothing to compare it with
    desk.held("who knows")
    rows, told = desk.pairs()
    assert [(row["prompt"], row["chosen"], row["rejected"]) for row in rows] == [
        ("q", "good", "bad"),
        ("q", "good", "worse"),
    ]
    assert rows[0]["licence"] == "LicenseRef-Proprietary-Own AND CC-BY-4.0 AND Apache-2.0"
    assert rows[0]["credit"] == "Ann Author; the base"
    assert rows[0]["reviews"] == [good.review, bad.review] and rows[0]["outputs"] == [good.id, bad.id]
    assert (rows[0]["source"], rows[0]["kind"]) == ("tiny@v1", "decided")
    assert (told["pairs"], told["alone_approved"], told["alone_rejected"]) == (2, 1, 0)
    assert told["left_out"] == {"not decided": 1}


def test_decisions_on_conversations_are_pairs_of_answers_to_all_that_was_said(desk: Desk) -> None:
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"}]
    for state in (desk.approved, desk.rejected):
        state(state.__name__)
        desk.erase(state(f"brief {state.__name__}"), prompt=outputs.prompt_text(talk))
    rows, told = desk.pairs()
    assert {(json.dumps(row["prompt"], sort_keys=True), row["chosen"], row["rejected"]) for row in rows} == {
        ('"q"', "approved", "rejected"),
        (json.dumps(talk, sort_keys=True), "brief approved", "brief rejected"),
    }
    assert told["prompts"] == 2
    columns = {"input": "prompt", "output": "chosen", "rejected": "rejected"}
    read_back = [shapes.records(row, columns)[0] for row in rows]
    assert {one.get("before_000_system") for one in read_back} == {None, "Be brief."}
    assert {one["input"] for one in read_back} == {"q"}


def test_an_edit_is_better_than_what_it_was_made_of(desk: Desk) -> None:
    old = desk.rejected("clumsy words", reason=REPLACED + "out_2", state="edited")
    desk.approved("fine words", edits=old.id)
    desk.approved("other words")  # says nothing about the clumsy ones: they have been put right
    rows, told = desk.pairs()
    assert [(row["chosen"], row["rejected"], row["kind"]) for row in rows] == [("fine words", "clumsy words", "edited")]
    assert (told["edited"], told["alone_approved"]) == (1, 1)


def test_what_is_gone_or_was_nobodys_opinion_makes_no_pair(desk: Desk) -> None:
    desk.approved("good")
    desk.rejected("bad")
    withdrawn, erased = desk.approved("taken back"), desk.rejected("forgotten")
    assert withdrawn.review
    queue.withdraw(desk.store, withdrawn.review, actor="ada", reason="a complaint")
    desk.erase(erased, text=None, prompt=None, erased=stamp(now()))
    desk.erase(desk.rejected("before prompts were kept"), prompt=None)
    late = desk.held("too late")
    with database.writing(desk.store) as connection:
        connection.execute(tables.reviews.update().where(tables.reviews.c.id == late.review).values(expires=""))
    assert [item.id for item in queue.expire(desk.store)] == [late.review]
    rows, told = desk.pairs()
    assert [(row["chosen"], row["rejected"]) for row in rows] == [("good", "bad")]
    assert told["left_out"] == {"withdrawn": 1, "erased": 1, "its prompt was not kept": 1, "nobody decided": 1}


def test_a_release_that_may_not_be_learnt_from_or_is_gone_makes_no_pair(
    desk: Desk, make_release: Callable[..., Path]
) -> None:
    no_changes = Credit("CC-BY-ND-4.0", "Ned", "table", 1, ("share", "sell"))
    make_release(desk.home.releases, version="v2", credits=(no_changes,))
    for release in ("tiny@v2", "tiny@v3", "../x"):
        desk.approved("good", release=release, prompt=release)
        desk.rejected("bad", release=release, prompt=release)
    with pytest.raises(InputError, match="hold no pair") as refused:
        desk.pairs()
    told = str(refused.value)
    assert "CC-BY-ND-4.0 does not allow to train" in told and "tiny@v3 is not here any more" in told
    assert "cannot be one" in told


@pytest.mark.parametrize(("licence", "why"), [("", "Give --licence"), ("CC-BY-ND-4.0", "allow"), ("Mine", "--licence")])
def test_the_operator_says_under_which_licence(desk: Desk, licence: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        preferences.from_review(desk.home, "tiny", out=Path("x"), licence=licence, credit="me")


PAGE = (Path(__file__).parents[1] / "docs" / "preferences.md").read_text(encoding="utf-8")
SCENARIO = (
    """
[scenario]
name = "polite"
title = "Polite"
languages = ["en"]
[data]
validation = 0.15
test = 0.15
near = 1.0
{source}
[model]
family = "pretrained"
method = "lora"
rank = 4
[model.base]
path = "base"
licence = "CC0-1.0"
credit = "a random model"
[template]
style = "plain"
after = ">"
{training}
[evaluation]
metrics = ["chrf"]
[[bars]]
metric = "chrf"
minimum = 0.0
[review]
checks = ["terms"]
rules = []
"""
    + LABELLED_AND_PRICED
)


def block(kind: str) -> list[str]:
    """The lines of the page's blocks of this kind."""
    return "".join(re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S)).splitlines()


TRAINING = "\n".join(block("toml"))


def test_the_commands_of_the_page_make_a_table_and_train_a_model(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(0)
    for _ in range(24):
        name = "".join(rng.choices("bcdfghklmnprstvw", k=6))
        desk.approved(f"Good day, {name}.", prompt=f"greet {name}")
        desk.rejected(f"Oi {name}!!", prompt=f"greet {name}")
    folder = tmp_path / "polite"
    tiny.write(folder / "base")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEARHEAD_HOME", str(desk.home.root))
    collect, train = block("sh")
    assert cli.main(shlex.split(collect)[1:]) == 0
    said = capsys.readouterr().out
    text = SCENARIO.format(source=said[said.index("[[data.sources]]") :], training=TRAINING)
    (folder / "scenario.toml").write_text(text, "utf-8")
    assert cli.main([*shlex.split(train)[1:], "--quiet"]) == 0

    outcome = drive(road.walk(read.load(folder), home=Home.find(None), until="train"), quiet=True)
    assert sum(outcome.dataset.counts().values()) == 24
    credits = {(credit.spdx, credit.credit) for credit in outcome.dataset.credits()}
    assert credits == {("LicenseRef-Proprietary-Own AND CC-BY-4.0 AND Apache-2.0", "Ann Author; the base")}
    [trained] = outcome.steps
    curve = [json.loads(line) for line in (trained.folder / "curve.jsonl").read_text("utf-8").splitlines()]
    assert curve[-1]["accuracy"] == 1.0 and curve[-1]["margin"] > curve[1]["margin"] > curve[0]["margin"]
    assert curve[-1]["validation_accuracy"] == 1.0
    assert trained.result["preference"]["accuracy"] == 1.0
    told = outcome.as_dict()["steps"][0]["words"]["preference"]
    assert re.fullmatch(r"accuracy 100%, margin 1\.\d+ on \d+ held-out pairs", told)
    assert f"preference: {told}" in outcome.lines()
    assert (trained.folder / "merged" / "model.safetensors").is_file(), "it can be released"

    still = read.load(folder, changes=("training.learning_rate=1e-30", "training.steps=8"))
    with pytest.raises(Exception, match="nothing is learnt.*learning_rate"):
        drive(road.walk(still, home=Home.find(None), until="train"), quiet=True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ('model.method="full"', "switching its adapter off"),
        ("training.beta=0.0", "above 0"),
        ("training.label_smoothing=0.5", "below 0.5"),
        ("training.embedding_noise=5.0", "does not go with"),
        ("training.augment={typos=0.1}", "does not go with"),
    ],
)
def test_what_does_not_go_with_preferences_is_refused_before_anything_is_read(
    change: str, why: str, tmp_path: Path
) -> None:
    source = '[[data.sources]]\nkind = "files"\npath = "x.jsonl"\nlicence = "CC0-1.0"\ncredit = ""'
    (tmp_path / "scenario.toml").write_text(SCENARIO.format(source=source, training=TRAINING), "utf-8")
    (tmp_path / "x.jsonl").write_bytes(b"")
    read.load(tmp_path)
    with pytest.raises(InputError, match=why):
        read.load(tmp_path, changes=(change,))
