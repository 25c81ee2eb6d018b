"""What a request may ask of a picture model. An option that is not listed here is refused by name, never ignored."""

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spearhead.core.errors import InputError
from spearhead.core.generation import Prompt, seed_of
from spearhead.core.sampler import MOST_STEPS, Sampler
from spearhead.core.sentence import said
from spearhead.runtimes.failure import OptionRefused

# name -> (type, least, most)
_FLOW: Mapping[str, tuple[type, float, float]] = {
    "steps": (int, 1, MOST_STEPS),
    "guidance": (float, 0.0, 20.0),
    "preview": (int, 0, MOST_STEPS),
}
_ONESHOT: Mapping[str, tuple[type, float, float]] = {"truncation": (float, 0.0, 2.0)}
STYLES = ("mixing", "mixing_seed")
"""Options of a model that draws from styles."""
MOST_SEED = (1 << 63) - 1
MOST_PICTURES = 64


@dataclass(frozen=True, slots=True)
class Wish:
    """What one answer is made with.

    `preview`: a look at it every so many steps, 0: none. From the layer `mixing` on (0: nowhere) the style is that of
    the picture with the seed `mixing_seed`; None: of one drawn after this picture's own.
    """

    label: int
    seed: int
    steps: int
    guidance: float
    truncation: float
    preview: int
    mixing: int
    mixing_seed: int | None


def label(prompt: Prompt, sampler: Sampler) -> int:
    """The class that the person's words name; markers and the scenario's own words are none of them."""
    try:
        return sampler.label("".join(segment.text for segment in prompt.segments if not segment.special))
    except InputError as error:
        raise OptionRefused("prompt", str(error)) from error


def wishes(prompt: Prompt, sampler: Sampler) -> list[Wish]:
    """One wish an answer, with the seeds seed, seed + 1, ...; raises InputError on what cannot be honoured."""
    if not 1 <= prompt.count <= MOST_PICTURES:
        raise OptionRefused("n", f"{prompt.count} pictures were asked for: wanted 1 to {MOST_PICTURES}")
    numbers = dict(_FLOW if sampler.kind == "flow" else _ONESHOT)
    if sampler.layers:
        numbers |= {"mixing": (int, 0, sampler.layers - 1), "mixing_seed": (int, 0, MOST_SEED)}
    found: dict[str, Any] = {"steps": sampler.steps, "guidance": sampler.guidance, "truncation": sampler.truncation}
    found |= {"preview": 0, "mixing": 0, "mixing_seed": None}
    for name, value in prompt.options.items():
        if value is None:
            continue
        if name == "size":
            _check_size(value, sampler)
        elif name == "seed":
            found["seed"] = value
        elif name in numbers:
            found[name] = _number(name, value, *numbers[name])
        elif name in STYLES:
            raise OptionRefused(
                name, f"{name}: this model draws from no styles, so there are none to mix: leave it out"
            )
        else:
            there = ", ".join((*numbers, "size", "seed"))
            raise OptionRefused(name, f"option {name!r} cannot be honoured here: there are {there}")
    if not sampler.classes and found["guidance"] != 1:
        raise OptionRefused(
            "guidance", "guidance: this model knows no classes, so there is nothing to guide towards: leave it out"
        )
    if found["mixing_seed"] is not None and not found["mixing"]:
        raise OptionRefused("mixing_seed", said("runtimes.onnx.whose_style"))
    seed = found.pop("seed", prompt.seed)
    seed = secrets.randbits(31) if seed is None else int(_number("seed", seed, int, 0, MOST_SEED))
    number = label(prompt, sampler)
    wish = Wish(label=number, seed=seed, **found)
    return [dataclasses.replace(wish, seed=seed_of(seed, index)) for index in range(prompt.count)]


def _number(name: str, value: Any, kind: type, least: float, most: float) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise OptionRefused(
            name, f"{name}: wanted {'a whole number' if kind is int else 'a number'}, got {str(value)[:40]!r}"
        )
    if not least <= value <= most:  # false for NaN too
        raise OptionRefused(name, f"{name}: wanted {least:g} to {most:g}, got {str(value)[:40]}")
    return value if kind is int else float(value)


def _check_size(value: Any, sampler: Sampler) -> None:
    height, width = sampler.size
    if value not in ("auto", f"{width}x{height}"):
        raise OptionRefused("size", f"size is {str(value)[:40]!r}: this model makes {width}x{height} and nothing else")
