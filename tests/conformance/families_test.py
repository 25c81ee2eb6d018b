"""What every folder under `models/` keeps: described without torch, one frozen configuration, listed by itself."""

import dataclasses
import subprocess
import sys

import jsonschema
import pytest

from spearhead.core.catalogue import Catalogue
from spearhead.core.family import Family
from spearhead.scenario.read import json_schema

FAMILIES = Catalogue("spearhead.models", "FAMILY")


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_family_is_described_without_torch(name: str) -> None:
    script = (
        "import sys\n"
        "from spearhead.core.catalogue import Catalogue\n"
        f"Catalogue('spearhead.models', 'FAMILY')[{name!r}]\n"
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_familys_configuration_is_one_frozen_value_and_its_presets_are_of_it(name: str) -> None:
    family: Family = FAMILIES[name]
    assert family.name == name
    assert dataclasses.is_dataclass(family.config) and family.config.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "debug" in family.presets
    assert all(isinstance(preset, family.config) for preset in family.presets.values())


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_familys_options_are_a_json_schema(name: str) -> None:
    schema = {"type": "object", "properties": dict(FAMILIES[name].options)}
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_family_is_in_the_scenarios_schema_by_itself(name: str) -> None:
    tables = json_schema()["properties"]["model"]["oneOf"]
    (own,) = [table for table in tables if table["properties"]["family"]["const"] == name]
    assert {field.name for field in dataclasses.fields(FAMILIES[name].config)} < set(own["properties"])


def test_an_unknown_family_is_answered_with_the_nearest() -> None:
    from spearhead.core.errors import InputError

    with pytest.raises(InputError, match="did you mean 'pretrained'"):
        FAMILIES["pretraned"]
