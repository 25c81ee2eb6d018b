"""A release exists whole or not at all, verifies, and validates with the tools of others."""

import dataclasses
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from spearhead.core import digest
from spearhead.core.errors import BarMissed, InputError
from spearhead.core.manifest import BarResult, Credit, Layout, Manifest, Measured, PriceTag
from spearhead.core.media import text
from spearhead.core.score import Case
from spearhead.core.specimen import manifest
from spearhead.provenance import seal, signing
from spearhead.release import bom, options
from spearhead.release.bundle import bundle
from spearhead.store import releases
from spearhead.store.home import Home

RECORDS = [digest.of_bytes(b"one"), digest.of_bytes(b"two")]


def declared(**changes: Any) -> Manifest:
    """What a release says before it is put together."""
    fields: dict[str, Any] = dict(
        version="",
        title="Tiny | rewrite",
        created="",
        context=128,
        credits=(
            Credit("CC0-1.0", "nobody", "pypi:a==1", 2, ("train", "share", "sell")),
            Credit("Apache-2.0 OR MIT", "somebody", "pypi:b==1", 1, ("train", "share", "sell")),
        ),
        scores=(Measured("bleu", 61.0, (59.0, 63.0), "higher", "bleu|4", {"copy": 50.4}, {"copy": 0.001}),),
        bars=(BarResult("bleu", "better than copy (p < 0.05)", "61 against 50.4, p = 0.001", True),),
        layouts=(Layout("Q8_0", 10, 170.0, 0.001, False), Layout("Q4_0", 6, 210.0, 0.02, True)),
        verdict_reasons=("it reaches all bars",),
        template={"style": "plain"},
        generation={"temperature": 0.0, "max_tokens": 64},
        policy={"checks": []},
        price=PriceTag("EUR", 1, 2, "token"),
        economics={"arithmetic": ["1 + 1 = 2"]},
        labels={"producer": "spearhead-test", "visible": True},
        made_by={"spearhead": "0.1.0", "base": "pypi:c==1"},
    )
    return manifest(**{**fields, **changes})


@dataclasses.dataclass(frozen=True)
class Made:
    """A home and what a bundle is made of."""

    home: Home
    inputs: dict[str, Any]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    model, tokenizer = tmp_path / "some.gguf", tmp_path / "tok.json"
    model.write_bytes(b"GGUF" + bytes(100))
    tokenizer.write_text("{}")
    described = tmp_path / "croissant.json"
    described.write_text(json.dumps({"@type": "sc:Dataset", "name": "made up"}))
    inputs: dict[str, Any] = dict(
        parts={"model.gguf": model, "tokenizer.json": tokenizer},
        options=options.schema({"temperature": 0.0, "max_tokens": 64}, context=128),
        records=RECORDS,
        croissant=described,
        samples=[Case(text("thou art"), text("you are"), text("you are"))],
        clock=lambda: datetime(2026, 11, 22, tzinfo=UTC),
    )
    return Made(Home(root=tmp_path / "home", cache=tmp_path / "cache"), inputs)


def test_a_release_is_whole_signed_and_reads_back(made: Made) -> None:
    folder = bundle(made.home, declared(), **made.inputs)
    assert folder == made.home.releases / "tiny" / "1"
    public = signing.ensure(made.home).public
    assert releases.verify(folder, public_key=public) == []
    release = releases.read(folder)
    assert release.file("model").read_bytes() == made.inputs["parts"]["model.gguf"].read_bytes()
    assert sorted(releases.records(release)) == sorted(RECORDS)
    assert release.manifest.records == digest.of_file(folder / "parts" / "records.txt")
    assert release.manifest.created == "2026-11-22T00:00:00Z"
    assert {part.path for part in release.manifest.parts} == {
        "parts/model.gguf",
        "parts/tokenizer.json",
        "parts/options.schema.json",
        "parts/records.txt",
        "bom.cdx.json",
        "data.croissant.json",
        "card.md",
        "samples/0001.md",
    }
    (sample,) = sorted((folder / "samples").iterdir())
    seen = seal.read(text(sample.read_text("utf-8"), mime="text/markdown"))
    assert seen.produce_id == "tiny@1/samples/0001.md"
    assert seen.visible


def test_the_bill_of_materials_validates_and_names_what_went_in(made: Made) -> None:
    folder = bundle(made.home, declared(), **made.inputs)
    document = (folder / "bom.cdx.json").read_text()
    assert bom.problem(document) is None
    found = json.loads(document)
    model = found["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["licenses"] == [{"expression": "(Apache-2.0 OR MIT) AND CC0-1.0"}]
    assert {part["name"] for part in model["components"]} >= {"parts/model.gguf", "card.md"}
    assert {part["name"] for part in found["components"]} == {"pypi:a==1", "pypi:b==1", "pypi:c==1"}
    assert bom.problem(document.replace("machine-learning-model", "wonder")) is not None


def test_the_card_writes_large_figures_out_and_a_base_model_has_no_records(made: Made) -> None:
    free = ("train", "share", "sell")
    said = declared(
        credits=(Credit("CC0-1.0", "nobody", "pypi:a==1", 2, free), Credit("MIT", "somebody", "pypi:c==1", 0, free)),
        scores=(Measured("kid", 55_262.3, (51_000.4, 61_234.5), "lower", "kid|1", {"mean": 123_456.7}, {}),),
    )
    folder = bundle(made.home, said, **made.inputs)
    card = (folder / "card.md").read_text("utf-8")
    assert "| kid | 55,262 | 51,000 to 61,234 | mean 123,457 | `kid\\|1` |" in card
    assert "| pypi:c==1 | MIT | somebody | – | train, share, sell |" in card
    document = (folder / "bom.cdx.json").read_text("utf-8")
    assert "2 records" in document and "0 records" not in document and bom.problem(document) is None


def test_the_options_schema_holds_requests_to_their_bounds() -> None:
    schema = options.schema({"temperature": 0.5, "max_tokens": 64, "context": 128}, context=128)
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    good: dict[str, Any] = {"temperature": 1, "top_p": 0.9, "top_k": 4, "min_p": 0, "max_tokens": 127, "seed": 3}
    assert judge.is_valid(good | {"stop": ["\n"]})
    assert judge.is_valid(good | {"seed": None})
    for wrong in (
        {"temperature": 2.1}, {"temperature": "1"}, {"top_p": 0}, {"top_k": 1.5}, {"min_p": -0.1}, {"max_tokens": 0},
        {"max_tokens": 128}, {"seed": -1}, {"stop": [""]}, {"stop": ["a"] * 5}, {"echo": True},
    ):  # fmt: skip
        assert not judge.is_valid(good | wrong), wrong
    assert schema["properties"]["temperature"]["default"] == 0.5
    with pytest.raises(InputError, match="'beam' is unknown"):
        options.schema({"beam": 4}, context=128)


def test_the_same_content_is_the_same_release_and_other_content_the_next(made: Made) -> None:
    first = bundle(made.home, declared(), **made.inputs)
    bytes_before = (first / "manifest.json").read_bytes()
    again = made.inputs | {"clock": lambda: datetime(2027, 1, 1, tzinfo=UTC)}
    assert bundle(made.home, declared(layouts=()), **again) == first
    assert (first / "manifest.json").read_bytes() == bytes_before
    assert bundle(made.home, declared(title="Other"), **made.inputs).name == "2"
    assert bundle(made.home, declared(title="Named"), **made.inputs, version="v1.0").name == "v1.0"
    made.inputs["parts"]["model.gguf"].write_bytes(b"GGUF" + bytes(101))
    assert bundle(made.home, declared(), **made.inputs).name == "3"
    with pytest.raises(InputError, match="tiny@1 is there with other content"):
        bundle(made.home, declared(title="Third"), **made.inputs, version="1")
    assert (first / "manifest.json").read_bytes() == bytes_before


def test_two_at_once_take_two_versions(made: Made) -> None:
    folders: list[Path] = []
    threads = [
        threading.Thread(target=lambda n=n: folders.append(bundle(made.home, declared(title=f"{n}"), **made.inputs)))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(folder.name for folder in folders) == ["1", "2", "3", "4"]


def test_what_fails_leaves_no_release(made: Made) -> None:
    place = made.home.releases / "tiny"
    missed = BarResult("bleu", "at least 99", "61", False)
    with pytest.raises(BarMissed, match="at least 99"):
        bundle(made.home, declared(bars=(missed,)), **made.inputs)
    with pytest.raises(InputError, match="is no record id"):
        bundle(made.home, declared(), **(made.inputs | {"records": ["../x"]}))
    with pytest.raises(InputError, match="cannot be read for the release"):
        bundle(made.home, declared(), **(made.inputs | {"parts": {"model.gguf": made.home.root / "nothing"}}))
    with pytest.raises(InputError, match="is no name"):
        bundle(made.home, declared(scenario="../evil"), **made.inputs)
    with pytest.raises(InputError, match="is no name"):
        bundle(made.home, declared(), **made.inputs, version="../1")
    with pytest.raises(InputError, match="is no file"):
        bundle(made.home, declared(), **(made.inputs | {"reports": [made.home.root / "nothing"]}))
    assert not [path for path in place.glob("*") if path.is_dir()]
    assert not list(made.home.root.parent.glob("evil*"))


def test_an_index_and_an_adapter_come_along(made: Made, tmp_path: Path) -> None:
    index, adapter = tmp_path / "index", tmp_path / "adapter.gguf"
    (index / "deep").mkdir(parents=True)
    (index / "deep" / "words.npy").write_bytes(b"\x93NUMPY")
    adapter.write_bytes(b"GGUF lora")
    inputs = made.inputs | {"parts": made.inputs["parts"] | {"adapter.gguf": adapter}}
    folder = bundle(made.home, declared(), **inputs, index=index)
    release = releases.read(folder)
    with pytest.raises(InputError, match="'x.pkl' is no part of a release"):
        bundle(made.home, declared(), **(inputs | {"parts": {"x.pkl": adapter}}))
    assert release.file("adapter").read_bytes() == b"GGUF lora"
    assert release.file("index") == folder / "parts" / "index" / "deep" / "words.npy"


def test_the_card_cannot_be_broken_by_what_it_tells(made: Made) -> None:
    folder = bundle(made.home, declared(), **made.inputs)
    card = (folder / "card.md").read_text()
    assert "# Tiny \\| rewrite (`tiny@1`)" in card
    assert "| bleu | 61 | 59 to 63 | copy 50.4 (0.001) | `bleu\\|4` |" in card
    assert "**Verdict: gold**" in card
