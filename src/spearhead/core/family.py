"""What a folder under `models/` exports as `FAMILY`: plain values and functions. Knows no network."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.generation import Progress, Prompt
from spearhead.core.record import Record
from spearhead.core.sentence import Said
from spearhead.core.template import Template

Steps = Generator[Progress, None, Any]
Words = Sequence[tuple[Said, Said]]
"""What is told in rows: what of, and what."""


@dataclass(frozen=True, slots=True)
class Owed:
    """What a model stands on besides the data: its licence, the credit it asks for and where it comes from."""

    licence: str
    credit: str
    source: str


@dataclass(frozen=True, slots=True)
class Preference:
    """How to learn from pairs of a chosen and a rejected answer (DPO, arXiv 2305.18290)."""

    beta: float = 0.1
    smoothing: float = 0.0
    sft: float = 0.0
    """Weight of the chosen answers' mean negative log-likelihood beside it."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a family is to learn, as the road asks it; values only, so that a family knows no plan and no scenario."""

    config: Any
    """A value of the family's own configuration."""
    train: Callable[[], Iterable[Record]]
    """The records to learn from, as often as they are asked for."""
    validation: Callable[[], Iterable[Record]]
    template: Template = Template()
    foundation: Path | None = None
    """What `Family.foundation` brought."""
    home: Any = None
    """The `store.home.Home`, where what is worth keeping between runs lies."""
    steps: int = 1000
    seed: int = 0
    device: str = "cpu"
    noise: float = 0.0
    """NEFTune alpha."""
    adversarial: str = "none"
    adversarial_size: float = 0.0
    augment: Callable[[Any, np.random.Generator], Any] | None = None
    """A new version of a training input (a text, or the (h, w, c) uint8 of a picture), drawn anew each time. A family
    raises InputError where its records have no input that could be changed."""
    preference: Preference | None = None
    """Learn from the records' `output` and `rejected`; None: from `output` alone."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A model and its examples, ready for the loop."""

    model: Any
    """A `nn.model.Model`."""
    examples: Sequence[Any]
    """Each has `units`; the loop's batches are made of them."""
    held: Sequence[Any]
    """Validation examples."""
    pack: Callable[..., Any]
    """`pack(examples, closes=True)` makes the family's batch."""
    finish: Callable[[Path], Steps]
    """Write into a folder what the release is made of, and give facts: for text `merged/` (a Hugging Face model folder:
    safetensors, config.json, tokenizer.json) and `probe.npz`; for pictures `parts/` (sampler.json, ONNX files)."""
    answer: Callable[[Sequence[Prompt]], Iterator[tuple[int, str, int, int]]] | None = None
    """What the model in memory answers, for one that no runtime serves: (prompt number, text, units asked, made)."""
    change: Callable[..., Any] | None = None
    """`change(number, rng)` makes a new version of a training example; None: no augmentation."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the report tells: examples, too_long, parameters and whatever the family wants to say."""
    preview: Callable[[], Any] | None = None
    """Samples of the model as it is, a grid (h, w, c) uint8 or a text, for the tracking files; None: nothing to see."""


def _servable(config: Any) -> str:
    return ""


def _no_pairs(config: Any) -> str:
    return "objective dpo is for tuned language models; this family learns by its own losses"


def _learns(config: Any) -> bool:
    return False


def _no_foundation(config: Any, folder: Path, home: Any) -> Steps:
    return
    yield  # a generator that brings nothing


def _nothing_owed(config: Any) -> Sequence[Owed]:
    return ()


def _nothing_follows(config: Any, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {}


def _draws_anything(config: Any) -> None:
    return None


def _no_words(what: Any) -> Words:
    return ()


OF_EMBEDDINGS: Mapping[str, str] = dict.fromkeys(
    ("embedding_noise", "adversarial"), "it perturbs the embeddings that a pretrained model has of words"
)
"""What is `unheard` by families that learn words, or pictures, from nothing."""
OF_MATRICES: Mapping[str, str] = {"prune": "it is for the matrices of a gpt, or of a pretrained model with method full"}
"""What is `unheard` by families whose `Model.matrices` are none."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family of models, described without its network.

    Functions import what they need when they are called, so that reading a scenario needs no torch.
    """

    name: str
    config: type
    """The frozen dataclass behind the `[model]` table."""
    presets: Mapping[str, Any]
    """Named values of `config`; `debug` is the smallest that still learns."""
    begin: Callable[[Task], Generator[Progress, None, Lesson]]
    """Make model and examples of a task."""
    modality: str = "text"
    foundation: Callable[[Any, Path, Any], Generator[Progress, None, Path | None]] = _no_foundation
    """`foundation(config, scenario folder, home)` brings what a model stands on (a base model's file), or None."""
    owed: Callable[[Any], Sequence[Owed]] = _nothing_owed
    """What the foundation asks for; its rights are those of its licence."""
    unservable: Callable[[Any], str] = _servable
    """Why no runtime can serve what this configuration trains, in words; empty: it can be released."""
    unheard: Mapping[str, str] = field(default_factory=dict)
    """Keys of `[training]` that this family does not heed, each with why: a scenario that sets one is refused."""
    unpreferring: Callable[[Any], str] = _no_pairs
    """Why this configuration cannot learn from preferred answers, in words; empty: it can."""
    impossible: Callable[[Any], str] = _servable
    """What of this configuration cannot be though each key alone can, as `key: sentence`; empty: nothing."""
    single: str = ""
    """Why this family learns in float32 whatever the machine has, in words; empty: it learns in bfloat16 too."""
    untrained: Callable[[Any], bool] = _learns
    """Whether this configuration trains nothing and releases its foundation as it is."""
    plan: Callable[[Any, Mapping[str, Any]], Mapping[str, Any]] = _nothing_follows
    """`plan(config, given)`: keys of `[training]` that follow from a configuration, where the scenario does not give
    them; `given` is its own table."""
    draws: Callable[[Any], Mapping[str, float] | None] = _draws_anything
    """What of `[generation]` pictures of this configuration are drawn with, each with the most it may be; None: not
    told, so nothing is refused before it is asked for."""
    words: Callable[[Any], Words] = _no_words
    """What the report says of a configuration."""
    found: Callable[[Mapping[str, Any]], Words] = _no_words
    """What the report and the command tell of a training from the facts that it gave, besides what every one tells."""
