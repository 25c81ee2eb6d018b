"""The invisible mark of a text, from the scenario's wish to the answer, its file, its trace and a later look at it."""

import asyncio
import dataclasses
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import encypher_c2pa
import numpy as np
import pytest
from gguf import GGUFReader

from spearhead.core import digest, media
from spearhead.core.errors import InputError
from spearhead.core.generation import Delivered, Request
from spearhead.core.manifest import Manifest, Part
from spearhead.engine.loaded import Room
from spearhead.engine.open import opened
from spearhead.ledger import journal, keys
from spearhead.pipeline import trust
from spearhead.provenance import signing
from spearhead.provenance.labels import watermark, wording
from spearhead.provenance.labels.manifest import MARKED
from spearhead.provenance.trace import trace
from spearhead.provenance.verify import holds, verify
from spearhead.runtimes.llamacpp.engines import WISH, installed
from spearhead.service.verify import Verifier, as_json
from spearhead.store import database
from spearhead.store.home import Home

needs_openvino = pytest.mark.skipif(
    not installed() and "SPEARHEAD_CI" not in os.environ,  # there `make setup` installs it
    reason="openvino is not installed: `pip install 'spearhead[openvino]'` enables it",
)
LETTERS = [*b" abcdefghijklmnoprstuvwxyz"]  # q is left out: two of them are one token


def babbling(home: Home, make_release: Any, sign_release: Any, **changes: Any) -> None:
    """`tiny@v1`, whose model says letters by chance: about 2.7 nats a token."""
    place = make_release(home.releases, labels={"producer": "test", "visible": True, "watermark": True}, **changes)
    model = place / "parts" / "model.gguf"
    (matrix,) = (tensor for tensor in GGUFReader(model, "r+").tensors if tensor.name == "output.weight")
    matrix.data[:] = -5.0  # (next token, last token), scaled by about 20
    tokens = [3 + letter for letter in LETTERS]
    matrix.data[tokens] = np.random.default_rng(0).normal(0, 0.05, (len(tokens), matrix.data.shape[1]))
    manifest = Manifest.from_json((place / "manifest.json").read_text())
    parts = tuple(
        Part(part.path, digest.of_file(model), part.bytes, part.role) if part.role == "model" else part
        for part in manifest.parts
    )
    sign_release(place, dataclasses.replace(manifest, parts=parts))


@dataclass(frozen=True, slots=True)
class Marked:
    """An installation and the answers that it gave."""

    home: Home
    store: Any
    answers: dict[str, Delivered]


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory, make_release: Any, sign_release: Any) -> Iterator[Marked]:
    """Answers of one engine: long and short, one with the likeliest tokens."""
    root = tmp_path_factory.mktemp("marked")
    home = Home(root, root / "cache")
    babbling(home, make_release, sign_release, generation={"temperature": 1.0, "max_tokens": 300})
    database.migrate(home.database_url)
    store = database.connect(home.database_url)
    account = keys.create_account(store, "a", currency="USD").id
    journal.credit(store, account, 10**9, key="first")
    wishes: dict[str, dict[str, Any]] = {
        "long": {},
        "again": {},
        "short": {"max_tokens": 60},
        "greedy": {"temperature": 0.0},
    }

    async def main() -> dict[str, Delivered]:
        async with opened(home, room=Room(threads=1)) as engine, asyncio.timeout(60):

            async def answer(name: str, options: dict[str, Any]) -> Delivered:
                request = Request("tiny", account, name, prompt="hello", options=options, seed=len(name))
                (found,) = [event async for event in engine.run(request) if isinstance(event, Delivered)]
                return found

            found = await asyncio.gather(*(answer(name, options) for name, options in wishes.items()))
            return dict(zip(wishes, found, strict=True))

    yield Marked(home, store, asyncio.run(main()))
    store.dispose()


def layer(home: Home, data: bytes) -> Any:
    """What an installation says of the invisible mark in a file."""
    layers = verify(data, watermark=watermark.opened(home, signing.ensure(home)))
    return next((one for one in layers if one.name == "watermark"), None)


@needs_openvino
def test_a_marked_answer_is_told_from_its_file_and_from_its_bare_words(marked: Marked, tmp_path: Path) -> None:
    answer = marked.answers["long"]
    assert answer.usage.completion == 300 and answer.text != marked.answers["again"].text
    bare = answer.text.encode()
    for data in (answer.file.data, bare, bare[60:], b"As I said:\r\n\r\n" + bare):
        found = layer(marked.home, data)
        assert found.state == "valid" and found.p_value < 1e-6 and found.scored > 180
        assert f"over {found.scored} tokens" in str(found.detail)
    assert holds(verify(bare, watermark=watermark.opened(marked.home, signing.ensure(marked.home))))
    found = trace(answer.file.data, marked.home, marked.store)
    assert found.invisible == "an invisible mark was drawn into it and read back, by its manifest"
    assert "says that an invisible mark was drawn" in str(found.layers[0].detail)
    file = tmp_path / "answer.txt"
    file.write_bytes(bare)
    assert trust.verify(marked.home, file).exit_code == 0


@needs_openvino
def test_another_reader_finds_the_manifest_valid_and_the_mark_in_it(
    marked: Marked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TELEMETRY", "ONLINE"):
        monkeypatch.setenv(f"ENCYPHER_C2PA_{name}", "off")
    for answer, actions in (("long", ["c2pa.created", MARKED]), ("greedy", ["c2pa.created"])):
        report = encypher_c2pa.verify(marked.answers[answer].file.data, "text/plain", online=False)
        assert (report["integrity"], report["hard_binding"]) == ("valid", "match")
        assert re.findall('"action": ?"([a-z0-9.]+)"', json.dumps(report)) == actions


@needs_openvino
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("greedy", "the likeliest token was taken each time, which leaves no choice to mark"),
        ("short", "it has 60 tokens, and nothing is claimed below 200"),
    ],
)
def test_an_answer_that_carries_no_mark_says_none_and_its_trace_says_why(marked: Marked, name: str, why: str) -> None:
    data = marked.answers[name].file.data
    found = trace(data, marked.home, marked.store)
    assert found.invisible == f"no invisible mark, though its release asks for one: {why}"
    assert found.layers[0].state == "valid" and "invisible" not in str(found.layers[0].detail)
    assert layer(marked.home, data).state == "absent"


@needs_openvino
def test_another_installation_hears_nothing_and_one_that_marks_no_texts_does_not_look(
    marked: Marked, tmp_path: Path, make_release: Any, sign_release: Any
) -> None:
    data = marked.answers["long"].text.encode()
    other = Home(tmp_path, tmp_path)
    assert layer(other, data) is None
    babbling(other, make_release, sign_release)
    found = layer(other, data)
    assert found.state == "absent" and found.p_value > 1e-4 and found.scored > 200


@needs_openvino
def test_anybody_may_ask_and_is_told_the_layer_its_p_value_and_its_tokens(marked: Marked) -> None:
    async def look(data: bytes) -> dict[str, Any]:
        return as_json(await Verifier(marked.home).look(data))

    said = asyncio.run(look(marked.answers["long"].text.encode()))
    assert said["holds"] and said["relied_on"] == ["watermark"]
    (found,) = (one for one in said["layers"] if one["name"] == "watermark")
    assert found["p_value"] < 1e-6 and found["scored"] > 180
    said = asyncio.run(look(marked.answers["long"].text[:100].encode()))
    assert not said["holds"] and "nothing is claimed below 200 tokens" in said["layers"][-1]["detail"]
    assert "p_value" not in said["layers"][0]


def test_where_llama_cpp_computes_a_release_that_marks_is_refused_in_one_line(
    tmp_path: Path, make_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, tmp_path / "cache")
    make_release(home.releases, labels={"producer": "test", "watermark": True})
    monkeypatch.setenv(WISH, "llama.cpp")

    async def main() -> None:
        async with opened(home, room=Room(threads=1)):
            pass

    with pytest.raises(InputError, match="labels.watermark asks for an invisible mark") as caught:
        asyncio.run(main())
    assert "\n" not in str(caught.value) and "llama.cpp cannot draw" in str(caught.value)


def test_the_key_is_the_installations_own_and_is_kept_with_its_signing_keys(tmp_path: Path) -> None:
    homes = [Home(tmp_path / name, tmp_path / name) for name in ("a", "b")]
    own, other = (signing.ensure(home) for home in homes)
    assert wording.secret_of(own) != wording.secret_of(other)
    assert wording.secret_of(own) not in (watermark.secret_of(own), own.release)
    assert wording.secret_of(own) == wording.secret_of(signing.ensure(homes[0]))


def test_a_damaged_release_hides_no_mark_of_another(tmp_path: Path, make_release: Any) -> None:
    home = Home(tmp_path, tmp_path / "cache")
    make_release(home.releases, labels={"producer": "test", "watermark": True})
    make_release(home.releases, version="v2", labels={"producer": "test", "watermark": True})
    (home.releases / "tiny" / "v2" / "manifest.json").write_text("{")
    found = wording.opened(home, signing.ensure(home)).read(media.text("the quick brown fox"))
    assert found is not None and found.scored == len("the quick brown fox") - 4
