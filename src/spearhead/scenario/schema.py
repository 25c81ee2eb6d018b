"""The shape of `scenario.toml`. Knows which keys exist and which combinations are impossible; reads no data."""

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator
from pydantic_core import PydanticCustomError

from spearhead.core import money
from spearhead.core.bounds import Whole
from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.family import Owed
from spearhead.core.manifest import PriceTag
from spearhead.core.review import Policy
from spearhead.core.sampler import MOST_LAYERS, MOST_STEPS
from spearhead.core.template import Template
from spearhead.core.ways import fault
from spearhead.data import licences
from spearhead.data.config import DataConfig
from spearhead.release.bars import Bar
from spearhead.review import categories, policy, reviewer
from spearhead.scenario import sourced
from spearhead.training.plan import Plan

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
Share = Annotated[float, Field(ge=0, le=1)]
NAME, CURRENCY, WORDS = r"^[a-z0-9][a-z0-9-]{0,62}$", r"^[A-Z]{3}$", r"\S"
UNITS = {"text": "token", "image": "picture"}
LIKELIHOODS = ("bits_per_byte", "perplexity")
"""Measured of every text model whose evaluation.perplexity_cases is not 0."""
BASELINES = {"text": ("copy", "base", "nearest", "ngram"), "image": ("real", "mean", "gaussian", "nearest")}
"""The trivial answers of a modality."""


def wrong(message: str) -> PydanticCustomError:
    """An impossible combination, said as one sentence."""
    return PydanticCustomError("impossible", "{message}", {"message": message})


def amount(text: str) -> int:
    """A price in the file is decimal text, never a float; raises a sentence."""
    try:
        value = money.parse(text)
    except ValueError as error:
        raise wrong(str(error)) from error
    if value < 0:
        raise wrong(f"{text!r} is below zero")
    return value


class About(BaseModel):
    """The `[scenario]` table."""

    model_config = STRICT
    name: Annotated[str, Field(pattern=NAME)]
    """What the API and the release folder call it: lower-case letters, digits and dashes."""
    title: str
    """What people read in the studio, the report and the card."""
    description: str = ""
    """One sentence on what it makes of what it is given."""
    modality: Literal["text", "image"] = "text"
    """What it makes."""
    languages: tuple[str, ...]
    """ISO 639 codes of what it answers in, as en or zh; where there is one, the check `language` wants every answer in
    it."""


PICTURES = {"steps", "guidance", "truncation", "mixing"}
"""Keys of `[generation]` that only pictures have."""


class Generation(BaseModel):
    """The `[generation]` table: what the API uses where the client says nothing."""

    model_config = STRICT
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """How freely tokens are drawn; 0: always the likeliest."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw only from the likeliest tokens that together have this share; 1: from all."""
    top_k: Annotated[int, Field(ge=0, le=1000)] = 0
    """Draw only from so many of the likeliest tokens; 0: from all."""
    min_p: Share = 0.0
    """Draw only tokens that have this share of the likeliest one's probability; 0: all."""
    max_tokens: Annotated[int, Field(ge=1, le=8192)] = 256
    """Tokens an answer has at most."""
    stop_repeats: Annotated[int, Field(ge=0, le=100)] = 3
    """An answer that says the same run of 12 to 240 characters so many times in a row is ended; 0: never."""
    context: Annotated[int, Field(ge=64, le=1_048_576)] = 8192
    """Tokens of context that all clients share while served."""
    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 0
    """Pictures: solver steps; 0: the model's own."""
    guidance: Annotated[float, Field(ge=0, le=20)] = 0.0
    """Pictures: how much the class counts; 0: the model's own, 1: no guidance."""
    truncation: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Pictures: spread of the noise; 0: the model's own."""
    mixing: Annotated[int, Field(ge=0, le=MOST_LAYERS)] = 0
    """Pictures by a `gan` whose maker is `style`: the layer from which a second style rules; 0: none does."""

    def for_texts(self) -> dict[str, Any]:
        """The defaults of what a request for text may set."""
        return self.model_dump(mode="json", exclude={"context", *PICTURES})

    def for_pictures(self) -> dict[str, Any]:
        """The defaults of what a request for pictures may set; what is the model's own is left out."""
        return {name: value for name, value in self.model_dump(mode="json", include=PICTURES).items() if value}


class Evaluation(BaseModel):
    """The `[evaluation]` table."""

    model_config = STRICT
    metrics: tuple[str, ...]
    """Names of what is measured on held-out answers, as in plug-ins.md; likelihoods are measured by themselves."""
    cases: Annotated[int, Field(ge=0)] = 0
    """Held-out records to judge; 0: the whole test split."""
    baselines: tuple[str, ...] = ()
    """Trivial answers to measure beside; none named: every one that the modality has."""
    base_template: Template | None = None
    """How the untouched base model is asked; none: as the tuned one is."""
    features: Literal["classifier", "efficientnet-lite0"] = "classifier"
    """What pictures are looked at through: a classifier trained on the scenario's own data, or ImageNet's."""
    draws: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Bootstrap draws behind every interval and p-value."""
    perplexity_cases: Annotated[int, Field(ge=0)] | Literal["all"] = 100
    """Held-out references whose likelihood is measured, as long as the model learns from (model.longest); "all": the
    whole test split, however few are answered; 0: not measured."""
    noise_cases: Annotated[int, Field(ge=0)] = 40
    """Inputs with typing noise, for robustness; 0: not measured."""
    extraction_cases: Annotated[int, Field(ge=0)] = 20
    """Training records whose prefix is given to see whether the rest is recited; 0: not measured."""


class ReleaseTable(BaseModel):
    """The `[release]` table."""

    model_config = STRICT
    layouts: Annotated[tuple[Literal["F16", "Q8_0/F16", "Q8_0", "Q4_0", "Q4_1"], ...], Field(min_length=1)] = (
        "Q8_0",
        "Q4_0",
    )
    """Candidate layouts of the weights; the fastest whose loss stays within `most_loss` is released."""
    most_loss: Annotated[float, Field(ge=0)] = 0.05
    """Nats per token that a layout may lose against the trained model."""
    tune: Whole = 0
    """Steps by which Q4_0 is tuned after it was calibrated: it learns on training texts to say what the model said in
    full precision, and is taken where it loses less on validation texts (docs/lab/0007 took 60 steps). 0: no tuning.
    Takes the memory and time of so many steps of method full."""
    form: Literal["merged", "adapter"] = "merged"
    """One file with the tuning inside, or a GGUF adapter over a shared base, which is slower."""


class Labels(BaseModel):
    """The `[labels]` table: what every output says of itself."""

    model_config = STRICT
    producer: Annotated[str, Field(pattern=WORDS)]
    """Name or 27-character code of the service (GB 45438 `ContentProducer`)."""
    visible: bool = True
    """Whether files carry words or a mark that people see."""
    watermark: bool = False
    """Whether pieces carry an invisible mark too, which survives a lost label. In pictures it costs about 30 ms and
    some noise. In texts it lies in the choice of tokens, counts from 200 on, and needs OpenVINO and a temperature."""


class Price(BaseModel):
    """The `[price]` table: decimal text per million units."""

    model_config = STRICT
    currency: Annotated[str, Field(pattern=CURRENCY)]
    """Three capital letters, as in USD."""
    prompt: str
    """What a million units that are read cost, as in `"0.20"`."""
    completion: str
    """What a million units that are made cost."""
    unit: Literal["token", "picture", "second"] = "token"
    """What is counted: tokens of texts, or pictures."""

    @field_validator("prompt", "completion")
    @classmethod
    def _is_an_amount(cls, text: str) -> str:
        amount(text)
        return text

    @property
    def free(self) -> bool:
        """Whether nothing is asked."""
        return not self.tag.prompt and not self.tag.completion

    @property
    def tag(self) -> PriceTag:
        """The price in billionths per million units."""
        return PriceTag(self.currency, amount(self.prompt), amount(self.completion), self.unit)


class Economics(BaseModel):
    """The `[economics]` table: what a piece costs the operator. Amounts are decimal text in the price's currency."""

    model_config = STRICT
    machine_hour: str
    """What an hour of the serving machine costs."""
    review_minute: str = "0"
    """What a minute of a reviewer's time costs."""
    review_share: Share = 0.0
    """Share of pieces that a person looks at."""
    review_minutes: Annotated[float, Field(ge=0)] = 0.0
    """Minutes a reviewed piece takes."""
    pieces: Annotated[int, Field(ge=1)] = 100
    """Accepted pieces after which the verdict is measured and no longer projected."""

    @field_validator("machine_hour", "review_minute")
    @classmethod
    def _is_an_amount(cls, text: str) -> str:
        amount(text)
        return text


_UNHEARD = {
    "text": {"generation": PICTURES, "evaluation": {"features"}},
    "image": {
        "generation": Generation.model_fields.keys() - PICTURES,
        "evaluation": {"base_template", "perplexity_cases", "noise_cases", "extraction_cases"},
        "release": set(ReleaseTable.model_fields),
    },
}
"""Keys by modality and table that nothing would come of."""


class Scenario(BaseModel):
    """A whole `scenario.toml`."""

    model_config = STRICT
    scenario: About
    """What it is."""
    data: DataConfig
    """What is learnt from, and the right to."""
    model: dict[str, Any]
    """`family` and the keys of that family's configuration."""
    template: Template = Template()
    """How a person's words become the prompt."""
    training: Plan = Plan()
    """How long and how it learns."""
    generation: Generation = Generation()
    """What the API uses where the client says nothing."""
    evaluation: Evaluation
    """What is measured."""
    bars: tuple[Bar, ...]
    """What a release must reach."""
    release: ReleaseTable = ReleaseTable()
    """How the weights are written."""
    review: Policy
    """In the file `template = "finance"` stands for that template's policy; other keys of the table change it."""
    labels: Labels
    """What every output says of itself."""
    price: Price
    """What is charged."""
    economics: Economics
    """What a piece costs the operator."""
    presets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Named changes to the tables above: `[presets.quick.training]`."""

    @property
    def name(self) -> str:
        """The scenario's name, as the API knows it."""
        return self.scenario.name

    @property
    def unit(self) -> str:
        """What is counted: `token` or `picture`."""
        return UNITS[self.scenario.modality]

    @property
    def baselines(self) -> tuple[str, ...]:
        """The trivial baselines to measure beside every score."""
        return self.evaluation.baselines or BASELINES[self.scenario.modality]

    @property
    def family(self) -> Any:
        """The FAMILY that makes the model."""
        return Catalogue("spearhead.models", "FAMILY")[self.model["family"]]

    @property
    def family_config(self) -> Any:
        """The family's own configuration, as its frozen dataclass."""
        return read_family_config(self.model)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        config = read_family_config(self.model)
        data, modality = self.data, self.scenario.modality
        if why := self.family.impossible(config):
            raise wrong(f"model.{why}")
        for owed in self.family.owed(config):
            _readable(owed)
        if code := sourced.unknown(self.scenario.languages):
            raise wrong(f"scenario.languages: {code!r} was given, wanted ISO 639 codes, as en, zh or pt-BR")
        if self.family.modality != modality:
            raise wrong(
                f"model.family {self.model['family']!r} makes {self.family.modality}, scenario.modality is {modality!r}"
            )
        if self.price.unit != self.unit:
            raise wrong(f"price.unit is {self.price.unit!r}: wanted {self.unit!r}, which {modality} is counted in")
        if odd := [name for name in self.evaluation.baselines if name not in BASELINES[modality]]:
            raise wrong(f"evaluation.baselines: {odd[0]!r} is none of {', '.join(BASELINES[modality])}")
        for name, keys in _UNHEARD[modality].items():
            if other := sorted(keys & getattr(self, name).model_fields_set):
                raise wrong(f"{name}.{other[0]} means nothing for modality {modality!r}: remove it")
        if modality == "image" and (why := _undrawable(self.family.draws(config), self.generation)):
            raise wrong(f"generation.{why}")
        if self.labels.watermark and modality == "text" and (rigid := _greedy(self.generation)):
            raise wrong(
                f"labels.watermark lies in the choice of tokens, and generation.{rigid} leaves none: change that, "
                "or leave the mark out"
            )
        if not data.sources:
            raise wrong("data.sources is empty: a scenario needs at least one [[data.sources]]")
        if data.validation + data.test >= 0.5:
            raise wrong(f"data.validation + data.test is {data.validation + data.test:g}: wanted less than 0.5")
        if data.validation <= 0 or data.test <= 0:
            raise wrong("data.validation and data.test must both be above 0: the gate needs records nobody trained on")
        if data.canaries:
            _plants(data, modality, self.training, untrained=self.family.untrained(config))
            if why := self.family.unservable(config):
                raise wrong(f"data.canaries are measured in what a runtime serves, and {why}: leave them out")
        _leaves_some(data)
        asked = "" if self.price.free else f"{self.price.prompt} and {self.price.completion} {self.price.currency}"
        if sentence := next(sourced.faults(data, price=asked), ""):
            raise wrong(sentence)
        for metric in self.evaluation.metrics:
            found = _named("spearhead.metrics", "METRIC", metric, "evaluation.metrics")
            if found.modality != modality:
                raise wrong(
                    f"evaluation.metrics: {metric!r} measures {found.modality}, and this scenario makes {modality}"
                )
            if getattr(found, "classifies", False) and self.evaluation.features != "classifier":
                raise wrong(
                    f"evaluation.metrics: {metric!r} needs a classifier, and evaluation.features is "
                    f"{self.evaluation.features!r}: set that to 'classifier', or leave the metric out"
                )
        for check in data.checks:
            looks = _named("spearhead.review", "CHECK", check, "data.checks").modality
            if looks not in (modality, "text"):  # pictures have words beside them
                raise wrong(f"data.checks: {check!r} looks at {looks}, and these data are {modality}")
        try:
            checks = reviewer.configured(self.review)
        except InputError as error:
            raise wrong(f"review: {str(error).removeprefix('review: ')}") from error
        for number, rule in enumerate(self.review.rules):
            if rule.category != policy.ANY and rule.category not in categories.NAMES:
                hint = _nearest(rule.category, sorted(categories.NAMES))
                raise wrong(f"review.rules.{number}.category: {rule.category!r} is unknown; {hint}")
        if not reviewer.sees(checks, modality):
            raise wrong(
                f"review: none of its checks looks at {modality}, so that all of it would wait for a person: add "
                f"{_LOOKS.get(modality, 'one that does')} to review.checks, or a template that has them"
            )
        if not self.bars:
            raise wrong("there are no [[bars]]: a release needs at least one bar to reach")
        for bar in self.bars:
            likelihood = bar.metric in LIKELIHOODS and modality == "text" and self.evaluation.perplexity_cases
            if bar.metric not in self.evaluation.metrics and not likelihood:
                raise wrong(f"bars: metric {bar.metric!r} is not in evaluation.metrics {list(self.evaluation.metrics)}")
            if missing := [name for name in bar.beats if name not in self.baselines]:
                raise wrong(f"bars: baseline {missing[0]!r} is not in evaluation.baselines")
            if bar.minimum is None and bar.maximum is None and not bar.beats:
                raise wrong(f"bars: the bar on {bar.metric!r} asks for nothing: give minimum, maximum or beats")
        _augments(self.training, modality)
        if (half := self.training.precision) in ("bf16", "fp16") and self.family.single:
            raise wrong(
                f"training.precision is {half!r}, but a {self.model['family']} learns in float32: "
                f"{self.family.single}; leave it out"
            )
        for name, why in self.family.unheard.items():
            if name in _set(self.training):
                raise wrong(f"training.{name} means nothing to a {self.model['family']}: {why}; leave it out")
        if self.training.objective == "dpo":
            _prefers(self.family.unpreferring(config), self.training)
        elif odd := [name for name in ("beta", "label_smoothing", "sft") if name in _set(self.training)]:
            raise wrong(f"training.{odd[0]} is of training.objective 'dpo', and that is 'likelihood': leave it out")
        if self.training.adversarial != "none" and getattr(config, "method", "") == "none":
            raise wrong("training.adversarial is set, but model.method is 'none': nothing is trained")
        method = getattr(config, "method", "")
        if self.release.form == "adapter" and method not in ("lora", "rslora"):
            made = f"model.method {method!r}" if method else f"model.family {self.model['family']!r}"
            raise wrong(f"release.form is 'adapter', which needs method lora or rslora; for {made} wanted 'merged'")
        if self.release.tune and (why := _untunable(self.release)):
            raise wrong(f"release.tune is {self.release.tune}, {why}; wanted 0")
        if self.generation.max_tokens >= self.generation.context:
            raise wrong("generation.max_tokens must be below generation.context")
        if self.training.device not in ("auto", "cpu", "cuda", "mps"):
            raise wrong(f"training.device is {self.training.device!r}: wanted auto, cpu, cuda or mps")
        return self


def _untunable(release: ReleaseTable) -> str:
    """Why no file of this release can be tuned, in words; empty: one can."""
    if release.form == "adapter":
        return "and release.form is 'adapter': a base that many share is tuned for none of them"
    if "Q4_0" not in release.layouts:
        return f"which tunes Q4_0, and release.layouts are {list(release.layouts)}: add it"
    return ""


_LOOKS = {"image": '"nsfw" and "writing"', "text": '"terms" and "personal"'}
"""Checks that a scenario of a modality begins with."""


def _named(package: str, attribute: str, name: str, key: str) -> Any:
    """A plug-in that the scenario names under `key`; raises a sentence."""
    found = Catalogue(package, attribute)
    if name not in found:
        raise wrong(f"{key}: {name!r} is unknown; {_nearest(name, list(found))}")
    return found[name]


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"wanted one of {', '.join(known)}"


def _readable(owed: Owed) -> None:
    """The licence of what a model stands on must say something; what it allows is asked before a release."""
    try:
        licences.read(owed.licence, credit=owed.credit)
    except ValueError as error:
        raise wrong(f"model: licence of {owed.source}: {error}") from error


def _leaves_some(data: DataConfig) -> None:
    """Bounds that no record can lie between are refused with both; raises a sentence."""
    texts, pictures = data.cleaning, data.pictures
    for name, low, high in (
        ("cleaning.shortest", texts.shortest, texts.longest),
        ("pictures.smallest", pictures.smallest, pictures.largest),
    ):
        if low > high:
            raise wrong(f"data.{name} is {low}, above the {high} that are the most: no record can be both")


def _greedy(generation: Generation) -> str:
    """The setting by which the likeliest token is always taken; empty when there is a choice."""
    return "temperature 0" if generation.temperature == 0 else "top_k 1" if generation.top_k == 1 else ""


def _undrawable(known: Mapping[str, float] | None, generation: Generation) -> str:
    """What of `[generation]` no picture of this model can be drawn with, and why; empty: nothing."""
    if known is None:
        return ""
    for name, value in generation.for_pictures().items():
        if name not in known:
            return f"{name} means nothing to this model, which knows {' and '.join(known) or 'none'}: remove it"
        if value > known[name]:
            return f"{name} is {value:g}: this model wants at most {known[name]:g}"
    return ""


def _plants(data: DataConfig, modality: str, plan: Plan, *, untrained: bool) -> None:
    """What a scenario that plants canaries must be; raises a sentence."""
    if not 1 <= data.canaries <= 100:
        raise wrong(f"data.canaries is {data.canaries}: wanted 0 for none, or 1 to 100 for each of data.canary_repeats")
    found = data.canary_repeats
    if not found or list(found) != sorted(set(found)) or not 1 <= found[0] <= found[-1] <= 1000:
        raise wrong(f"data.canary_repeats is {list(found)}: wanted rising numbers from 1 to 1000, as [1, 4, 16]")
    if modality != "text":
        raise wrong(f"data.canaries are texts, scenario.modality is {modality!r}: leave them out")
    if plan.objective == "dpo":
        raise wrong("data.canaries do not go with training.objective 'dpo', which learns from two answers to one text")
    if untrained:
        raise wrong("data.canaries are set, but nothing is trained: leave them out")


def _augments(plan: Plan, modality: str) -> None:
    """The ways to change a training input must be those of the modality; raises a sentence."""
    if modality == "image":
        from spearhead.media.image.change import WAYS as ways
    else:
        from spearhead.data.augment import WAYS as ways  # type: ignore[assignment]
    if told := fault(plan.augment or {}, ways):
        raise wrong(told)


def _set(plan: Plan) -> set[str]:
    """The keys of a plan that are not what they are by default."""
    usual = Plan()
    return {field.name for field in dataclasses.fields(plan) if getattr(plan, field.name) != getattr(usual, field.name)}


def _prefers(why: str, plan: Plan) -> None:
    """What a plan with the objective dpo must be; raises a sentence."""
    if why:
        raise wrong(f"training.{why}")
    if not 0 < plan.beta <= 10:
        raise wrong(f"training.beta is {plan.beta:g}: wanted above 0, at most 10; with 0 no pair pulls at anything")
    if not 0 <= plan.label_smoothing < 0.5:
        raise wrong(f"training.label_smoothing is {plan.label_smoothing:g}: wanted 0 to below 0.5")
    if plan.sft < 0:
        raise wrong(f"training.sft is {plan.sft:g}: wanted 0 or more")
    for name, off in (("embedding_noise", not plan.embedding_noise), ("adversarial", plan.adversarial == "none")):
        if not off:
            raise wrong(f"training.{name} does not go with training.objective 'dpo': the reference would hear it too")
    if plan.augment:
        raise wrong(
            "training.augment does not go with training.objective 'dpo', which compares two answers to one text"
        )


@cache
def model_table(family: str) -> type[BaseModel]:
    """A strict reader of `{config: ...}` for a family: its plain dataclass takes the strictness of its holder."""
    kind = Catalogue("spearhead.models", "FAMILY")[family].config
    return create_model("ModelTable", __config__=STRICT, config=(kind, ...))


def read_family_config(model: dict[str, Any]) -> Any:
    """The `[model]` table as its family's frozen configuration; raises on an unknown family, key or type."""
    rest = {key: value for key, value in model.items() if key != "family"}
    return model_table(model["family"]).model_validate_json(json.dumps({"config": rest})).config  # type: ignore[attr-defined]
