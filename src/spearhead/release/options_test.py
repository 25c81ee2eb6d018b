"""The form of a request is made from what the model can do."""

import jsonschema
import pytest

from spearhead.core.errors import InputError
from spearhead.core.sampler import Sampler
from spearhead.release import options

FLOW = Sampler("flow", (1, 28, 28), (28, 28), 1, ("coat", "bag"), steps=12, guidance=2.0)


def test_a_flow_offers_steps_guidance_and_its_classes() -> None:
    made = options.for_pictures({"steps": 8}, sampler=FLOW)
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["properties"]["steps"]["default"] == 8
    assert made["properties"]["prompt"]["enum"] == ["coat", "bag"]
    assert made["properties"]["size"]["enum"][:3] == ["auto", "280x280", "308x308"]
    jsonschema.validate({"size": "280x280", "format": "webp", "guidance": 1.5, "steps": 250}, made)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"steps": 251}, made)  # the runtime refuses it
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"size": "256x256"}, made)


def test_a_oneshot_offers_the_spread_of_its_noise_and_no_steps() -> None:
    made = options.for_pictures({}, sampler=Sampler("oneshot", (16,), (64, 64), 3))
    assert "truncation" in made["properties"] and "steps" not in made["properties"]
    for name in ("steps", "mixing"):
        with pytest.raises(InputError, match=f"'{name}' is unknown"):
            options.for_pictures({name: 3}, sampler=Sampler("oneshot", (16,), (64, 64), 3))


def test_a_maker_of_styles_offers_to_mix_two_from_a_layer_that_it_has() -> None:
    made = options.for_pictures({"mixing": 2}, sampler=Sampler("oneshot", (16,), (64, 64), 3, layers=5))
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["properties"]["mixing"]["default"] == 2
    jsonschema.validate({"mixing": 4, "mixing_seed": 9}, made)
    jsonschema.validate({"mixing": 0, "mixing_seed": None}, made)
    for wrong in ({"mixing": 5}, {"mixing": -1}, {"mixing": 1.5}, {"mixing_seed": -1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, made)
