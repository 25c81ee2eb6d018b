"""Sampling options as llama.cpp wants them. An option that is not listed here is refused by name, never ignored.

Left out means neutral: temperature 1, no penalty, and no truncation but to the 256 likeliest tokens (`top_k: 0` asks
for the whole vocabulary: for 49 k tokens that took 2.5 times the time of everything else). What a scenario prefers is
for its release to say. The order is llama.cpp's: penalties, top_k, top_p, min_p, temperature.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from spearhead.core.sentence import said
from spearhead.runtimes.failure import OptionRefused

# name -> (key of llama.cpp, type, least, most)
_NUMBERS: Mapping[str, tuple[str, type, float, float]] = {
    "temperature": ("temperature", float, 0.0, 5.0),
    "top_p": ("top_p", float, 0.0, 1.0),
    "top_k": ("top_k", int, 0, 1_000_000),
    "min_p": ("min_p", float, 0.0, 1.0),
    "presence_penalty": ("presence_penalty", float, -2.0, 2.0),
    "frequency_penalty": ("frequency_penalty", float, -2.0, 2.0),
    "repeat_penalty": ("repeat_penalty", float, 0.1, 5.0),
    "max_tokens": ("n_predict", int, 1, 10_000_000),
    "logprobs": ("n_probs", int, 0, 100),
}
NAMES = (*_NUMBERS, "logit_bias", "stop_repeats")
"""Every option that a prompt may carry."""
_WIDE = 256
_MOST_STOPS, _LONGEST_STOP = 16, 256


def body(
    tokens: Sequence[int],
    options: Mapping[str, Any],
    *,
    stop: Sequence[str],
    seed: int | None,
    vocabulary: int | None = None,
) -> dict[str, Any]:
    """The request that samples one answer to `tokens`; raises OptionRefused on what cannot be honoured.

    `logprobs` is how many alternatives each token comes with. `logit_bias` maps token ids to numbers that are added;
    with `vocabulary`, how many tokens there are, an id past them is refused, for it would do nothing.
    """
    out: dict[str, Any] = {
        "prompt": list(tokens),
        "stream": True,
        "cache_prompt": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": _WIDE,
        "min_p": 0.0,
        "stop": list(stop),
    }
    for name, value in options.items():
        if value is None:
            continue
        if name == "logit_bias":
            out["logit_bias"] = _bias(value, vocabulary)
        elif name == "stop_repeats":  # ours, see `runtimes.loops`; checked here with the others
            _number(name, value, int, 0, 100)
        elif name in _NUMBERS:
            key, kind, least, most = _NUMBERS[name]
            out[key] = _number(name, value, kind, least, most)
        else:
            raise OptionRefused(name, f"option {name!r} cannot be honoured here: there are {', '.join(NAMES)}")
    if len(stop) > _MOST_STOPS or any(not 0 < len(word) <= _LONGEST_STOP for word in stop):
        raise OptionRefused("stop", said("runtimes.llamacpp.stop", most=_MOST_STOPS, longest=_LONGEST_STOP))
    if seed is not None:
        out["seed"] = seed & 0xFFFFFFFF
        if out["seed"] == 0xFFFFFFFF:  # llama.cpp reads this one as "draw a seed"
            out["seed"] = 0xFFFFFFFE
    penalised = any(key in out for key in ("presence_penalty", "frequency_penalty", "repeat_penalty"))
    out["samplers"] = ["penalties"] if penalised else []
    if out["temperature"] == 0.0:
        out["top_k"] = 1  # the best token alone: no sort and no exponentials over the vocabulary
        out["samplers"] += ["top_k"]
    else:
        out["samplers"] += ["top_k", "top_p", "min_p", "temperature"]
    return out


def _number(name: str, value: Any, kind: type, least: float, most: float) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise OptionRefused(name, f"{name}: wanted {'a whole number' if kind is int else 'a number'}, got {value!r}")
    if not least <= value <= most:  # false for NaN too
        raise OptionRefused(name, f"{name}: wanted {least:g} to {most:g}, got {value!r}")
    return value if kind is int else float(value)


def _bias(value: Any, vocabulary: int | None) -> list[list[float | int]]:
    if not isinstance(value, Mapping) or len(value) > 1024:
        raise OptionRefused("logit_bias", "logit_bias: wanted at most 1024 token ids with a number each")
    pairs: list[list[float | int]] = []
    for token, amount in value.items():
        if not (str(token).isascii() and str(token).isdecimal() and len(str(token)) <= 9):
            raise OptionRefused("logit_bias", f"logit_bias: wanted token ids, got {str(token)[:40]!r}")
        if vocabulary is not None and int(token) >= vocabulary:
            raise OptionRefused("logit_bias", f"logit_bias: {token} is no token: this model has {vocabulary:,}, from 0")
        pairs.append([int(token), _number("logit_bias", amount, float, -100.0, 100.0)])
    return pairs
